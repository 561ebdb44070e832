program main
  implicit none
  type list
    character(len=:), allocatable :: eaten
    type(list), pointer :: next => null()
  end type
  type(list), pointer :: head => null(), another
  character(len=100) :: mode, text
  integer :: n, error
  integer, volatile :: turns = 0
  print "(A)", "grün €"
  flush(6)
  call get_command_argument(1, mode)
  select case (mode)
  case ("echo")
    do
      read(*, "(A)", iostat=error) text
      if (error /= 0) exit
      print "(A)", trim(text)
    end do
    do n = 2, command_argument_count()
      call get_command_argument(n, text)
      print "(A)", trim(text)
    end do
  case ("exit")
    call exit(7)
  case ("fail")
    error stop "boom"
  case ("loop")
    do
      turns = turns + 1
    end do
  case ("eat")
    do
      allocate(another)
      another%eaten = repeat("x", 100000)
      another%next => head
      head => another
    end do
  case ("flood")
    write(*, "(A)", advance="no") repeat("x", 1048566)
  end select
end program

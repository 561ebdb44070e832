set -u
echo "grün €"
mode=$1
shift
case $mode in
  echo) cat; echo; printf '%s\n' "$@" ;;
  exit) exit 7 ;;
  fail) : "${boom}" ;;
  loop) while :; do :; done ;;
  eat) eaten=xxxxxxxxxxxxxxxx; while :; do eaten+=$eaten; done ;;
  flood) head -c 1048566 /dev/zero | tr '\0' x ;;
esac

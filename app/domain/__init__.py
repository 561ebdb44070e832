"""The words of the house: values and seams that every room shares. Standard library only."""

from servicedb.cli import main

main()

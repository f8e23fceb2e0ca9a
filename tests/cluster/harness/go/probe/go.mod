module servicedb.io/tests/probe

go 1.24.0

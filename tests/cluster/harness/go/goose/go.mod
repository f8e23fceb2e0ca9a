module servicedb.io/tests/goose

go 1.26.0

require github.com/pressly/goose/v3 v3.29.0

#!/bin/bash
# Run by PostgreSQL's container once it has made an empty cluster: ruad's database and the login role of Grafana.
set -eu

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set ruad_password="$(cat /run/ruad/ruad-password)" --set reader_password="$(cat /run/ruad/reader-password)" <<'END'
create role ruad login password :'ruad_password';
create database ruad owner ruad;
-- What it may read is granted by ruad along with the schema.
create role ruad_reader nologin;
create role grafana login password :'reader_password' in role ruad_reader;
alter role grafana set default_transaction_read_only = on;
alter role grafana set statement_timeout = '30s';
END

#!/bin/bash
# Runs once, when the volume is new: a database and a user for each who needs one, with a password of its own.
set -euo pipefail

database() {
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --set name="$1" --set password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

database mlflow "$MLFLOW_DATABASE_PASSWORD"
database dagster "$DAGSTER_DATABASE_PASSWORD"
database airflow "$AIRFLOW_DATABASE_PASSWORD"

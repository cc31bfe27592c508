//! Somebody who logs in with a role of their own that is a member of `ruad_reader`.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use store::ConnectOptions;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::harness::Database;

/// Far from UTC, which no figure may depend on.
const TIME_ZONE: &str = "America/New_York";

pub(super) struct Reader {
    pub(super) role: String,
    connect: ConnectOptions,
}

impl Reader {
    /// Makes the role, which all databases of the server share, under a name of its own.
    pub(super) async fn join(database: &Database) -> Self {
        Self::named(database, "reader").await
    }

    pub(super) async fn named(database: &Database, name: &str) -> Self {
        let place: String = database
            .value("select current_database() || '_' || current_schema")
            .await;
        let role = format!("{name}_{place}");
        let make = format!("create role {role} login in role ruad_reader");
        database.execute(&make).await;
        let connect = database
            .connect_options()
            .username(&role)
            .options([("TimeZone", TIME_ZONE)]);
        Self { role, connect }
    }

    /// Restricted to a policy domain and what is below it.
    pub(super) async fn only(&self, database: &Database, domain: &str) {
        let limit = format!(
            "insert into reader_domains values ('{}', '{domain}')",
            self.role
        );
        database.execute(&limit).await;
    }

    pub(super) async fn leave(self, database: &Database) {
        database.execute(&format!("drop role {}", self.role)).await;
    }

    pub(super) async fn rows(&self, sql: &str) -> Rows {
        let rows = self.try_rows("", sql).await;
        rows.unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }

    /// What a statement returns after others in the same session, or PostgreSQL's error.
    pub(super) async fn try_rows(&self, before: &str, sql: &str) -> Result<Rows, sqlx::Error> {
        let wrapped = format!(
            "select coalesce(json_agg(row_to_json(rows)), '[]')::text from (\n{sql}\n) as rows"
        );
        let text: String = self.session(before, wrapped).await?.remove(0);
        Ok(Rows::read(&serde_json::from_str(&text).unwrap()))
    }

    /// How a statement would be run, if an index is used wherever one can be.
    pub(super) async fn plan(&self, sql: &str) -> String {
        let explain = format!("explain (costs off) {sql}");
        let lines = self.session("set enable_seqscan = off", explain).await;
        lines.unwrap().join("\n")
    }

    /// The only column of what a statement returns after others in the same session.
    async fn session(&self, before: &str, sql: String) -> Result<Vec<String>, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.connect).await?;
        sqlx::raw_sql(AssertSqlSafe(before.to_owned()))
            .execute(&mut connection)
            .await?;
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await
    }
}

/// Rows in a form that can be compared: times as seconds, numbers to nine digits, no column names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows(pub(super) Vec<Vec<String>>);

impl Rows {
    fn read(rows: &Value) -> Self {
        let rows = rows.as_array().unwrap().iter();
        Self(
            rows.map(|row| row.as_object().unwrap().values().map(cell).collect())
                .collect(),
        )
    }

    /// From any values.
    pub(super) fn of<R, V>(rows: impl IntoIterator<Item = R>) -> Self
    where
        R: IntoIterator<Item = V>,
        V: Into<Value>,
    {
        let row = |row: R| row.into_iter().map(|value| cell(&value.into())).collect();
        Self(rows.into_iter().map(row).collect())
    }

    pub(super) fn sorted(&self) -> Self {
        let mut rows = self.0.clone();
        rows.sort();
        Self(rows)
    }

    pub(super) fn column_sum(&self, column: usize) -> f64 {
        self.0
            .iter()
            .map(|row| row[column].parse::<f64>().unwrap())
            .sum()
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Number(number) => number_text(number.as_f64().unwrap()),
        Value::String(text) => match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(time) => number_text(time.unix_timestamp_nanos() as f64 / 1e9),
            Err(_) => text.clone(),
        },
        Value::Null | Value::Bool(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => panic!("no panel shows {value}"),
    }
}

/// Enough digits for any count and rate; times to the millisecond.
fn number_text(number: f64) -> String {
    if number.abs() >= 1e8 {
        format!("{number:.3}")
    } else {
        format!("{number:.9}")
    }
}

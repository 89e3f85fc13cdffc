//! The same five questions to Statecast over HTTP, and to PostgreSQL by SQL on a copy of the table with a GIN index.
//!
//! The copy isn't written to, and there is no HTTP in front of it: both make PostgreSQL faster than it would be in the
//! place of the index. Both answer with the number of devices that match and the twins of the first page.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{ConnectOptions, Row};
use statecast_tests::{Api, Service};

use crate::database;
use crate::results::{Results, median};

/// Spaces behind a query at most; there may be ten times as many before it, as a query has a limit.
const SPACES_MAX: usize = 90;

/// One question: its name, query, order and facet; then the condition and the order in SQL.
struct Question {
    name: &'static str,
    search: [&'static str; 3],
    sql: [&'static str; 2],
    /// Whether its answer stays the same while devices report.
    steady: bool,
}

const QUESTIONS: [Question; 5] = [
    Question {
        name: "terms",
        search: ["battery:7 site:north", "id", ""],
        sql: [r#"reported @> '{"battery": 7, "site": "north"}'"#, "device"],
        steady: true,
    },
    Question {
        name: "compare",
        search: ["type:thermostat battery:<2", "-battery,id", ""],
        sql: [
            r#"reported @> '{"type": "thermostat"}' AND (reported->>'battery')::numeric < 2"#,
            "(reported->>'battery')::numeric DESC, device",
        ],
        steady: true,
    },
    Question {
        name: "range",
        search: ["temperature:18..18.5 -site:south", "temperature,id", ""],
        sql: [
            r#"(reported->>'temperature')::numeric BETWEEN 18 AND 18.5 AND NOT reported @> '{"site": "south"}'"#,
            "(reported->>'temperature')::numeric, device",
        ],
        steady: false,
    },
    Question {
        name: "prefix",
        search: ["firmware:1.2.* battery:50", "id", ""],
        sql: [r#"reported->>'firmware' LIKE '1.2.%' AND reported @> '{"battery": 50}'"#, "device"],
        steady: true,
    },
    Question {
        name: "facet",
        search: ["mode:heat", "id", "site"],
        sql: [r#"reported @> '{"mode": "heat"}'"#, "device"],
        steady: true,
    },
];

/// Asks both by turns for so long each, and adds a ratio for each question.
///
/// # Errors
/// When either fails, or they don't agree.
pub(crate) async fn measure(service: &Service, time: Duration, results: &mut Results) -> Result<()> {
    let (_, options) = database::find(service.dir())?;
    let mut connection = options.connect().await.context("connect to the private PostgreSQL")?;
    for statement in [
        "CREATE TABLE rival AS SELECT * FROM devices WHERE device LIKE 'bench-%'",
        "CREATE INDEX ON rival USING gin (reported jsonb_path_ops)",
        "VACUUM ANALYZE rival",
    ] {
        sqlx::query(statement).execute(&mut connection).await.context(statement)?;
    }
    let api = service.api();
    for question in &QUESTIONS {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        let until = Instant::now() + time;
        while own.is_empty() || Instant::now() < until {
            let begun = Instant::now();
            let found = question.search(&api, own.len()).await?;
            own.push(begun.elapsed().as_secs_f64());
            let begun = Instant::now();
            let expected = question.select(&mut connection).await?;
            others.push(begun.elapsed().as_secs_f64());
            ensure!(!question.steady || found == expected, "{}: {found} against {expected}", question.name);
        }
        let (own, others) = (median(own)?, median(others)?);
        let means = format!("PostgreSQL {:.1} ms / own {:.1} ms, medians", others * 1e3, own * 1e3);
        results.add(&format!("search_ratio_pg_{}", question.name), others / own, &means);
    }
    sqlx::query("DROP TABLE rival").execute(&mut connection).await?;
    Ok(())
}

impl Question {
    /// How many devices Statecast finds. Written otherwise at each turn, so that it isn't known from the turn before.
    async fn search(&self, api: &Api, turn: usize) -> Result<i64> {
        let [query, sort, facets] = self.search;
        let (before, after) = (turn / SPACES_MAX, turn % SPACES_MAX);
        let query = format!("{:before$}{query}{:after$}", "", "");
        let request = api.request(Method::GET, "/v1/search");
        let request =
            request.query(&[("q", query.as_str()), ("sort", sort), ("facets", facets), ("limit", "20")]);
        let found: serde_json::Value = request.send().await?.error_for_status()?.json().await?;
        found["total"].as_i64().context("no total")
    }

    /// How many PostgreSQL does.
    async fn select(&self, connection: &mut PgConnection) -> Result<i64> {
        let [condition, order] = self.sql;
        let count = format!("SELECT count(*) FROM rival WHERE tenant = 'default' AND {condition}");
        let page =
            format!("SELECT * FROM rival WHERE tenant = 'default' AND {condition} ORDER BY {order} LIMIT 20");
        let total = rows(connection, &count).await?.first().context("a row")?.try_get(0)?;
        rows(connection, &page).await?;
        let [_, _, facet] = self.search;
        if !facet.is_empty() {
            let counts = format!(
                "SELECT reported->'{facet}', count(*) FROM rival WHERE tenant = 'default' AND {condition}
                 GROUP BY 1 ORDER BY 2 DESC LIMIT 50"
            );
            rows(connection, &counts).await?;
        }
        Ok(total)
    }
}

async fn rows(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>> {
    Ok(sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(connection).await?)
}

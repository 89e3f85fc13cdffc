//! A partition of history for each day, made a week ahead, dropped as a whole when it is too old. Whatever
//! belongs to no day that exists (clocks jump) goes to the default partition, and moves when its day is made.

use sqlx::types::chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use statecast_state::Timestamp;

use crate::store::deadline;
use crate::{Store, StoreError};

/// Partitions are made this many days ahead.
const DAYS_AHEAD: usize = 7;
/// Making or dropping a partition waits this long for a lock, then gives up: others wait behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s'";

impl Store {
    /// Makes the partitions of yesterday, today and the week to come, those that are missing. To be called at
    /// start and at least once a day; at most by one process at a time.
    ///
    /// # Errors
    /// When the database can't be used, or a lock wasn't free in time: call it again later. The same for all
    /// of this file.
    pub async fn ensure_partitions(&self, now: Timestamp) -> Result<(), StoreError> {
        let today = now.to_datetime().date_naive();
        let first = today.pred_opt().unwrap_or(today);
        let made = self.days().await?;
        for day in first.iter_days().take(2 + DAYS_AHEAD) {
            if !made.contains(&day) {
                self.make_day(day).await?;
            }
        }
        Ok(())
    }

    /// Drops the days that ended at `time` or before, and deletes what is older from the default partition.
    /// Answers how many days were dropped. Twins, and what is derived from them, stay as they are.
    pub async fn drop_before(&self, time: Timestamp) -> Result<usize, StoreError> {
        let old: Vec<NaiveDate> =
            self.days().await?.into_iter().filter(|day| midnight(next(*day)) <= time.to_datetime()).collect();
        for day in &old {
            self.drop_day(*day).await?;
        }
        let delete = sqlx::query(
            "WITH gone AS (DELETE FROM history_default WHERE received_at < $1 RETURNING position)
             UPDATE owner SET dropped = greatest(dropped, (SELECT max(position) FROM gone))",
        )
        .bind(time.to_datetime());
        deadline(delete.execute(&self.pool)).await?;
        Ok(old.len())
    }

    /// The days that have a partition, in order.
    async fn days(&self) -> Result<Vec<NaiveDate>, StoreError> {
        let query = sqlx::query_scalar(
            "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'history'::regclass ORDER BY 1",
        );
        let names: Vec<String> = deadline(query.fetch_all(&self.pool)).await?;
        Ok(names.iter().filter_map(|name| NaiveDate::parse_from_str(name, "history_%Y%m%d").ok()).collect())
    }

    /// Makes a partition beside the table, moves there what already waits in the default partition, and
    /// attaches it: readers and writers of other days aren't held up.
    async fn make_day(&self, day: NaiveDate) -> Result<(), StoreError> {
        let (name, from, to) = (name(day), midnight(day).to_rfc3339(), midnight(next(day)).to_rfc3339());
        self.together(&[
            LOCK_TIMEOUT.to_owned(),
            format!(
                "CREATE TABLE {name} (LIKE history INCLUDING ALL) WITH (
                    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 1)"
            ),
            format!(
                "ALTER TABLE {name} ALTER COLUMN patch SET STATISTICS 0, ALTER COLUMN inverse SET STATISTICS 0"
            ),
            "LOCK TABLE history_default IN ACCESS EXCLUSIVE MODE".to_owned(),
            format!(
                "WITH moved AS (DELETE FROM history_default
                    WHERE received_at >= '{from}' AND received_at < '{to}' RETURNING *)
                 INSERT INTO {name} SELECT * FROM moved"
            ),
            format!("ALTER TABLE history ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}')"),
        ])
        .await
    }

    async fn drop_day(&self, day: NaiveDate) -> Result<(), StoreError> {
        let name = name(day);
        self.together(&[
            LOCK_TIMEOUT.to_owned(),
            // First of all the lock that takes long, as the row of the owner must not be held meanwhile.
            "LOCK TABLE history IN ACCESS EXCLUSIVE MODE".to_owned(),
            format!("UPDATE owner SET dropped = greatest(dropped, (SELECT max(position) FROM {name}))"),
            format!("DROP TABLE {name}"),
        ])
        .await
    }

    /// Runs statements, made of nothing but dates, as one transaction.
    async fn together(&self, statements: &[String]) -> Result<(), StoreError> {
        deadline(Box::pin(async {
            let mut connection = self.pool.acquire().await?;
            let connection: &mut PgConnection = &mut connection;
            let mut transaction = connection.begin().await?;
            for statement in statements {
                sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut *transaction).await?;
            }
            transaction.commit().await
        }))
        .await
    }
}

fn name(day: NaiveDate) -> String {
    day.format("history_%Y%m%d").to_string()
}

fn next(day: NaiveDate) -> NaiveDate {
    day.succ_opt().unwrap_or(day)
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

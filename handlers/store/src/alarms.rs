//! Alarms and what happened to them, read by people.

use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use statecast_state::alarm::{Alarm, Event, Severity};
use statecast_state::{DeviceId, Position, TenantId, Timestamp};
use uuid::Uuid;

use crate::rows::{Columns, limit};
use crate::store::deadline;
use crate::{Store, StoreError};

/// An alarm, and of which device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlarmRow {
    /// Which device.
    pub device: DeviceId,
    /// The change that it is as of.
    pub position: Position,
    /// The alarm.
    #[serde(flatten)]
    pub alarm: Alarm,
}

impl AlarmRow {
    fn read(row: &PgRow) -> Result<Self, StoreError> {
        Ok(Self {
            device: row.device()?,
            position: row.position()?,
            alarm: row.try_get::<Json<Alarm>, _>("alarm")?.0,
        })
    }
}

/// Which alarms to list: all that fit everything that is set.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlarmFilter<'a> {
    /// Those whose condition holds, or doesn't.
    pub active: Option<bool>,
    /// Those that somebody has taken note of, or not.
    pub acknowledged: Option<bool>,
    /// Those that are at least this bad.
    pub severity: Option<Severity>,
    /// Those of this device.
    pub device: Option<&'a DeviceId>,
    /// Those of this rule.
    pub rule: Option<Uuid>,
    /// Those last raised before the one with this time and id: the last of the page before.
    pub before: Option<(Timestamp, Uuid)>,
}

impl Store {
    /// Alarms of a tenant that were ever raised, the last raised first, at most `rows_max`.
    ///
    /// # Errors
    /// When the database can't be read; the same for all of this file.
    pub async fn alarms(
        &self,
        tenant: &TenantId,
        filter: AlarmFilter<'_>,
        rows_max: usize,
    ) -> Result<Vec<AlarmRow>, StoreError> {
        let severities =
            Severity::ALL.into_iter().filter(|one| filter.severity.is_none_or(|least| *one >= least));
        let severities: Vec<&str> = severities.map(Severity::as_str).collect();
        let (time, id) = filter.before.unwrap_or((Timestamp::from_micros(i64::MAX), Uuid::max()));
        let query = sqlx::query(
            "SELECT device, position, to_jsonb(a) AS alarm FROM alarms a
             WHERE tenant = $1 AND version > 0 AND (raised_at, id) < ($2, $3)
               AND ($4::boolean IS NULL OR active = $4)
               AND ($5::boolean IS NULL OR (acknowledged_at IS NOT NULL) = $5)
               AND severity = ANY($6) AND ($7::text IS NULL OR device = $7) AND ($8::uuid IS NULL OR rule = $8)
             ORDER BY raised_at DESC, id DESC LIMIT $9",
        )
        .bind(tenant.as_str())
        .bind(time.to_datetime())
        .bind(id)
        .bind(filter.active)
        .bind(filter.acknowledged)
        .bind(severities)
        .bind(filter.device.map(DeviceId::as_str))
        .bind(filter.rule)
        .bind(limit(rows_max));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(AlarmRow::read).collect()
    }

    /// One alarm, if it was ever raised.
    pub async fn alarm(&self, tenant: &TenantId, id: Uuid) -> Result<Option<AlarmRow>, StoreError> {
        let query = sqlx::query(
            "SELECT device, position, to_jsonb(a) AS alarm FROM alarms a
             WHERE tenant = $1 AND id = $2 AND version > 0",
        )
        .bind(tenant.as_str())
        .bind(id);
        deadline(query.fetch_optional(&self.pool)).await?.as_ref().map(AlarmRow::read).transpose()
    }

    /// What happened to an alarm, the last first, at most `rows_max`.
    pub async fn alarm_events(
        &self,
        tenant: &TenantId,
        alarm: Uuid,
        rows_max: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let query = sqlx::query(
            "SELECT to_jsonb(e) AS event FROM alarm_events e WHERE tenant = $1 AND alarm = $2
             ORDER BY version DESC, step DESC LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(alarm)
        .bind(limit(rows_max));
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter().map(|row| Ok(row.try_get::<Json<Event>, _>("event")?.0)).collect()
    }

    /// Deletes what happened to alarms, and who was not told, before `time`; the alarms stay, so that their versions
    /// never begin anew. Answers how many rows.
    pub async fn trim_alarms(&self, time: Timestamp) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for sql in ["DELETE FROM alarm_events WHERE at < $1", "DELETE FROM decisions WHERE at < $1"] {
            let query = sqlx::query(sql).bind(time.to_datetime());
            deleted += deadline(query.execute(&self.pool)).await?.rows_affected();
        }
        Ok(deleted)
    }
}

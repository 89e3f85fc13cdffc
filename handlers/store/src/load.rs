//! Twins, their alarms and their recent messages, many at once, for the handlers: one round trip for all that wait.

use sqlx::Row;
use sqlx::types::Json;
use sqlx::types::chrono::{DateTime, Utc};
use statecast_state::alarm::Alarm;
use statecast_state::{DeviceKey, MessageId, Timestamp, Twin};

use crate::requests;
use crate::rows::{Columns, columns, limit};
use crate::store::deadline;
use crate::{Store, StoreError};

/// Message ids are remembered for at least this long, in microseconds: 24 hours.
pub const REMEMBERED_MICROS: i64 = 24 * 3600 * 1_000_000;
/// And at least this many of each device, however old (unless retention dropped them).
pub const REMEMBERED_LEAST: usize = 200;
/// But never more than this many of one device.
pub const REMEMBERED_MAX: usize = 20_000;

/// What the handlers need to know of a device before its next message.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The twin, with its alarms; none when there is no such device.
    pub twin: Option<Twin>,
    /// The alarms of a device that doesn't exist any more: they go on if it comes again.
    pub left: Vec<Alarm>,
    /// The idempotency keys of its recent messages and when each was received, oldest first.
    pub recent: Vec<(MessageId, Timestamp)>,
}

/// `$3`: from when on all are wanted, `$4` at most how many, `$5` at least how many. Older days are only
/// looked at when the last one doesn't have enough.
const LOAD: &str = "
    SELECT k.ordinal, d.*, r.messages, r.times, m.alarms,
        (SELECT jsonb_agg(to_jsonb(q) - 'asked_by' || jsonb_build_object('by', q.asked_by) ORDER BY q.version, q.id)
         FROM requests q WHERE q.tenant = k.tenant_asked AND q.device = k.device_asked AND q.ended_at IS NULL)
            AS open_requests
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (tenant_asked, device_asked, ordinal)
    LEFT JOIN devices d ON d.tenant = k.tenant_asked AND d.device = k.device_asked
    CROSS JOIN LATERAL (
        WITH day AS MATERIALIZED (
            SELECT position, message, received_at FROM history
            WHERE tenant = k.tenant_asked AND device = k.device_asked
              AND message IS NOT NULL AND received_at >= $3
            ORDER BY position DESC LIMIT $4
        ), older AS (
            SELECT position, message, received_at FROM history
            WHERE tenant = k.tenant_asked AND device = k.device_asked
              AND message IS NOT NULL AND received_at < $3 AND (SELECT count(*) FROM day) < $5
            ORDER BY position DESC LIMIT $5
        )
        SELECT array_agg(message ORDER BY position) AS messages, array_agg(received_at ORDER BY position) AS times
        FROM (SELECT * FROM day UNION ALL SELECT * FROM older) AS r
    ) AS r
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(to_jsonb(a)) AS alarms FROM alarms a
        WHERE a.tenant = k.tenant_asked AND a.device = k.device_asked
    ) AS m
    ORDER BY k.ordinal";

impl Store {
    /// Loads what the handlers need to know of these devices, in the same order.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn load(&self, keys: &[DeviceKey], now: Timestamp) -> Result<Vec<Loaded>, StoreError> {
        let (tenants, devices) = columns(keys);
        let query = sqlx::query(LOAD)
            .bind(tenants)
            .bind(devices)
            .bind(now.plus_micros(-REMEMBERED_MICROS).to_datetime())
            .bind(limit(REMEMBERED_MAX))
            .bind(limit(REMEMBERED_LEAST));
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter()
            .map(|row| {
                let known = row.try_get::<Option<i64>, _>("version")?.is_some();
                let messages: Option<Vec<i64>> = row.try_get("messages")?;
                let times: Option<Vec<DateTime<Utc>>> = row.try_get("times")?;
                let recent = messages.unwrap_or_default().into_iter().zip(times.unwrap_or_default());
                let requests = requests::open(row)?;
                let alarms: Option<Json<Vec<Alarm>>> = row.try_get("alarms")?;
                let alarms = alarms.map(|Json(alarms)| alarms).unwrap_or_default();
                let (twin, left) = if known {
                    (Some(Twin { alarms, requests, ..row.twin()? }), Vec::new())
                } else {
                    (None, alarms)
                };
                Ok(Loaded {
                    twin,
                    left,
                    recent: recent.map(|(id, time)| (MessageId(id.cast_unsigned()), time.into())).collect(),
                })
            })
            .collect()
    }
}

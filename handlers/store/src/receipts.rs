//! What becomes of pushes after they were accepted, or given up: the app got one, a person opened it, somebody sends
//! it again; and whom pushes let act.

use serde::{Deserialize, Serialize};
use statecast_state::{DeviceId, TenantId};
use uuid::Uuid;

use crate::outbox::now;
use crate::store::deadline;
use crate::{Store, StoreError};

/// What an app says of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receipt {
    /// It got it.
    Received,
    /// A person opened it, so it got it too.
    Opened,
}

/// Whose pushes a receipt may be for: all that is said must hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Of<'a> {
    /// Those for this person.
    pub person: Option<&'a str>,
    /// Those of this alarm.
    pub alarm: Option<Uuid>,
}

/// What came of sending a push again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It waits again.
    Waits,
    /// It isn't dead.
    NotDead,
    /// There is none.
    Unknown,
}

impl Store {
    /// Notes a receipt for a push, and for those that went with it; the first one counts. Answers whether there is such
    /// a push.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn note_receipt(
        &self,
        tenant: &TenantId,
        id: Uuid,
        receipt: Receipt,
        of: Of<'_>,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "WITH told AS MATERIALIZED (
                SELECT id, members FROM pushes WHERE tenant = $1 AND id = $2
                    AND ($3::text IS NULL OR person = $3) AND ($4::uuid IS NULL OR alarm = $4)
             ), ids AS MATERIALIZED (
                SELECT id FROM told UNION SELECT unnest(members) FROM told
             )
             UPDATE pushes p SET received_at = coalesce(received_at, $5),
                 opened_at = CASE WHEN $6 THEN coalesce(opened_at, $5) ELSE opened_at END
             WHERE p.tenant = $1 AND p.id = ANY (ARRAY(SELECT id FROM ids))",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(of.person)
        .bind(of.alarm)
        .bind(now().to_datetime())
        .bind(receipt == Receipt::Opened);
        Ok(deadline(query.execute(&self.pool)).await?.rows_affected() > 0)
    }

    /// Has a dead push wait again, at once, under its id, and for as long as it had at first. Whether it is still
    /// worth sending is looked at as with any other.
    pub async fn replay_push(&self, tenant: &TenantId, id: Uuid) -> Result<Replay, StoreError> {
        let query = sqlx::query_scalar(
            "WITH again AS (
                UPDATE pushes SET state = 'waiting', attempt = 0, due_at = $3, deadline = $3 + (deadline - created_at),
                    hold = NULL, status = NULL, error = NULL, done_at = NULL
                WHERE tenant = $1 AND id = $2 AND state = 'dead' RETURNING true
             )
             SELECT EXISTS (SELECT 1 FROM again) FROM pushes WHERE tenant = $1 AND id = $2",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(now().to_datetime());
        Ok(match deadline(query.fetch_optional(&self.pool)).await? {
            Some(true) => Replay::Waits,
            Some(false) => Replay::NotDead,
            None => Replay::Unknown,
        })
    }

    /// Whether there is a push of this alarm for this person.
    pub async fn was_told_of_alarm(
        &self,
        tenant: &TenantId,
        person: &str,
        alarm: Uuid,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pushes WHERE tenant = $1 AND alarm = $2 AND person = $3)",
        )
        .bind(tenant.as_str())
        .bind(alarm)
        .bind(person);
        deadline(query.fetch_one(&self.pool)).await
    }

    /// Whether there is a push of an alarm of this device for this person.
    pub async fn was_told_of_device(
        &self,
        tenant: &TenantId,
        person: &str,
        device: &DeviceId,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pushes WHERE tenant = $1 AND device = $2 AND person = $3
                 AND alarm IS NOT NULL)",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .bind(person);
        deadline(query.fetch_one(&self.pool)).await
    }
}

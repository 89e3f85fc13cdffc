//! Requests for desired state: written with the change that made or changed them, read by people and at the start.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use statecast_state::request::{Requested, Step};
use statecast_state::{DeviceKey, Position, TenantId, Timestamp};
use uuid::Uuid;

use crate::batch::Group;
use crate::rows::{Columns, Jsonb, limit, signed, unsigned};
use crate::silent::Due;
use crate::store::deadline;
use crate::{Store, StoreError};

/// Whether groups bring requests, which are rare: then a batch is two statements.
pub(crate) fn any(groups: &[Group<'_>]) -> bool {
    groups.iter().any(|group| group.changes.iter().any(|change| !change.requests.is_empty()))
}

/// Writes the requests of those groups that were written, in the same transaction.
pub(crate) async fn put(
    connection: &mut PgConnection,
    groups: &[Group<'_>],
    written: &HashSet<Position>,
) -> Result<(), sqlx::Error> {
    // Each once, as the last change of its device left it.
    let mut last: BTreeMap<(&TenantId, Uuid), &Requested> = BTreeMap::new();
    for group in groups.iter().filter(|group| written.contains(&group.last().position)) {
        for change in group.changes {
            let requests = change.requests.iter();
            last.extend(requests.map(|one| ((&change.key.tenant, one.id), &**one)));
        }
    }
    if last.is_empty() {
        return Ok(());
    }
    let requests: Vec<&Requested> = last.values().copied().collect();
    let column = |time: fn(&Requested) -> Option<Timestamp>| -> Vec<_> {
        requests.iter().map(|one| time(one).map(Timestamp::to_datetime)).collect()
    };
    sqlx::query(
        "INSERT INTO requests (tenant, id, device, version, patch, asked_by, person, state, reason,
            requested_at, sent_at, ended_at, deadline)
         SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::jsonb[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[])
         ON CONFLICT (tenant, id) DO UPDATE SET
            state = excluded.state, reason = excluded.reason, sent_at = excluded.sent_at, ended_at = excluded.ended_at",
    )
    .bind(last.keys().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
    .bind(last.keys().map(|(_, id)| *id).collect::<Vec<_>>())
    .bind(requests.iter().map(|one| one.device.as_str()).collect::<Vec<_>>())
    .bind(requests.iter().map(|one| signed(one.version)).collect::<Vec<_>>())
    .bind(requests.iter().map(|one| Jsonb(&one.patch)).collect::<Vec<_>>())
    .bind(requests.iter().map(|one| one.by.as_str()).collect::<Vec<_>>())
    .bind(requests.iter().map(|one| one.person.as_deref()).collect::<Vec<_>>())
    .bind(requests.iter().map(|one| one.state.as_str()).collect::<Vec<_>>())
    .bind(requests.iter().map(|one| one.reason.as_deref()).collect::<Vec<_>>())
    .bind(column(|one| Some(one.requested_at)))
    .bind(column(|one| one.sent_at))
    .bind(column(|one| one.ended_at))
    .bind(column(|one| Some(one.deadline)))
    .execute(connection)
    .await
    .map(drop)
}

/// Reads the column `open_requests` of [`Store::load`].
pub(crate) fn open(row: &PgRow) -> Result<Vec<Arc<Requested>>, StoreError> {
    let open: Option<sqlx::types::Json<Vec<Requested>>> = row.try_get("open_requests")?;
    Ok(open.map_or_else(Vec::new, |open| open.0.into_iter().map(Arc::new).collect()))
}

fn read(row: &PgRow) -> Result<Requested, StoreError> {
    let state: &str = row.try_get("state")?;
    Ok(Requested {
        id: row.try_get("id")?,
        device: row.device()?,
        version: unsigned(row.try_get("version")?),
        patch: row.document("patch")?,
        by: row.try_get("asked_by")?,
        person: row.try_get("person")?,
        state: Step::parse(state)
            .ok_or_else(|| StoreError::Corrupt(format!("no state of a request is named {state:?}")))?,
        reason: row.try_get("reason")?,
        requested_at: row.moment("requested_at")?,
        sent_at: row.time("sent_at")?,
        ended_at: row.time("ended_at")?,
        deadline: row.moment("deadline")?,
    })
}

impl Store {
    /// A request.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn request(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Requested>, StoreError> {
        let sql = "SELECT * FROM requests WHERE tenant = $1 AND id = $2";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(id);
        deadline(query.fetch_optional(&self.pool)).await?.as_ref().map(read).transpose()
    }

    /// The requests of a device, newest first: all, or those that are open; with ids below `before`, at most
    /// `rows_max`.
    pub async fn requests(
        &self,
        key: &DeviceKey,
        open_only: bool,
        before: Option<Uuid>,
        rows_max: usize,
    ) -> Result<Vec<Requested>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM requests
             WHERE tenant = $1 AND device = $2 AND id < $3 AND (ended_at IS NULL OR NOT $4)
             ORDER BY id DESC LIMIT $5",
        )
        .bind(key.tenant.as_str())
        .bind(key.device.as_str())
        .bind(before.unwrap_or(Uuid::max()))
        .bind(open_only)
        .bind(limit(rows_max));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(read).collect()
    }

    /// Of all tenants, the devices with an open request whose deadline is after `after` and up to `until`, in that
    /// order, at most `rows_max`. A device may come several times.
    pub async fn requests_due(
        &self,
        after: &Due,
        until: Timestamp,
        rows_max: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let sql = "SELECT DISTINCT deadline AS due_at, tenant, device FROM requests
             WHERE ended_at IS NULL AND deadline <= $4 AND (deadline, tenant, device) > ($1, $2, $3)
             ORDER BY deadline, tenant, device LIMIT $5";
        self.due(sql, after, until, rows_max).await
    }

    /// Deletes requests whose outcome was known before `time`; answers how many.
    pub async fn trim_requests(&self, time: Timestamp) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM requests WHERE ended_at < $1").bind(time.to_datetime());
        Ok(deadline(query.execute(&self.pool)).await?.rows_affected())
    }
}

//! What the tests share: the server, databases, and changes that follow one another.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use statecast_state::alarm::Severity;
use statecast_state::{
    Change, DeviceId, DeviceKey, Document, Kind, MessageId, Position, Push, PushKind, TenantId, Timestamp,
    Twin,
};
use statecast_store::{Local, Store};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// A directory that every user may pass through, as a data directory usually is.
pub(crate) fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Ends the server when this process has ended, however that happens: a shell waits for the end of a pipe that
/// only we hold open.
fn end_with_us(pid: u32, dir: &Path) {
    let script =
        "read -r _; kill -INT \"$1\"; while kill -0 \"$1\" 2>/dev/null; do sleep 0.1; done; rm -rf \"$2\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", &pid.to_string()]).arg(dir).process_group(0);
    let shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::mem::forget(shell);
}

/// The server of this run.
pub(crate) async fn server() -> PgConnectOptions {
    static SERVER: OnceCell<PgConnectOptions> = OnceCell::const_new();
    let start = async || {
        let dir = directory().keep();
        let local = Local::start(&dir).await.unwrap();
        end_with_us(local.pid(), &dir);
        let options = local.options();
        std::mem::forget(local); // its lock stays until the end
        options
    };
    SERVER.get_or_init(start).await.clone()
}

/// A database of its own, without tables.
pub(crate) async fn empty_database() -> PgConnectOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let options = server().await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut admin = options.clone().database("postgres").connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    options.database(&name)
}

/// A database of its own, ready for use.
pub(crate) async fn store() -> Store {
    let store = Store::connect(empty_database().await, 2).await.unwrap();
    store.migrate().await.unwrap();
    store.ensure_partitions(now()).await.unwrap();
    store
}

/// A connection for questions that the store doesn't ask.
pub(crate) async fn number(options: &PgConnectOptions, sql: &'static str) -> i64 {
    let mut connection = options.connect().await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

pub(crate) fn key(device: &str) -> DeviceKey {
    DeviceKey::new(TenantId::default(), DeviceId::parse(device).unwrap())
}

pub(crate) fn document(value: Value) -> Document {
    let Value::Object(document) = value else { panic!("an object") };
    document
}

/// The next change of a device: reports `{"n": n}`.
pub(crate) fn change(key: &DeviceKey, before: Option<&Arc<Twin>>, position: u64, n: u64) -> Change {
    let mut twin = before.map_or_else(|| Twin::new(key.device.clone()), |twin| (**twin).clone());
    twin.version += 1;
    twin.reported = document(json!({ "n": n }));
    twin.received_at = Some(now());
    Change {
        key: key.clone(),
        position: Position(position),
        kind: Kind::State,
        before: before.cloned(),
        after: Some(Arc::new(twin)),
        patch: document(json!({ "n": n })),
        inverse: document(json!({ "n": null })),
        stale: false,
        ahead: false,
        received_at: now(),
        device_time: None,
        message: Some(MessageId(n)),
        requests: Vec::new(),
        pushes: Vec::new(),
        decisions: Vec::new(),
        alarms: Vec::new(),
        events: Vec::new(),
    }
}

/// The removal of a device.
pub(crate) fn removal(key: &DeviceKey, before: &Arc<Twin>, position: u64) -> Change {
    Change { kind: Kind::Removed, after: None, message: None, ..change(key, Some(before), position, 0) }
}

pub(crate) fn push(device: &DeviceId, receiver: Uuid) -> Push {
    Push {
        id: Uuid::now_v7(),
        rule: Uuid::nil(),
        receiver,
        device: device.clone(),
        position: Position(0),
        payload: json!({ "title": "hot" }),
        created_at: now(),
        deadline: now().plus_micros(3_600_000_000),
        due_at: now(),
        kind: PushKind::Alarm,
        alarm: None,
        alarm_version: 0,
        step: 0,
        person: None,
        severity: Severity::Warning,
        urgent: false,
        hold: None,
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

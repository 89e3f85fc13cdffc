//! The private server: started, adopted, stopped, and what it says when it can't.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sqlx::ConnectOptions;
use statecast_store::{Batch, Local, LocalError, Outcome, Store};

use crate::support::{change, directory, key, number, until};

fn alive(pid: u32) -> bool {
    // A process that has ended but wasn't waited for isn't alive.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.lines().any(|line| line.starts_with("State:") && line.contains('Z')))
}

fn kill(signal: &str, pid: u32) {
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args([signal, &pid.to_string()]).status().unwrap().success());
}

fn are_we_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Where the files of the server are.
fn home(dir: &Path) -> PathBuf {
    std::fs::canonicalize(dir.join("postgres")).unwrap()
}

#[tokio::test]
async fn a_server_that_was_left_behind_is_adopted_and_a_stale_pid_is_not_believed() {
    let dir = directory();
    let first = Local::start(dir.path()).await.unwrap();
    let pid = first.pid();
    number(&first.options(), "SELECT 1::bigint").await;

    // Somebody else while it is ours: a guest, which stops nothing.
    let guest = Local::start(dir.path()).await.unwrap();
    assert_eq!(guest.pid(), pid);
    guest.stop().await.unwrap();
    assert!(alive(pid));

    // As after a `kill -9` of the service: nobody has stopped it.
    drop(first);
    let second = Local::start(dir.path()).await.unwrap();
    assert_eq!(second.pid(), pid);

    // The server itself is killed, and its number now belongs to somebody else: to us.
    drop(second);
    kill("-9", pid);
    until("the server is gone", async || !alive(pid)).await;
    let file = home(dir.path()).join("data/postmaster.pid");
    let text = std::fs::read_to_string(&file).unwrap();
    let rest = text.split_once('\n').unwrap().1;
    std::fs::write(&file, format!("{}\n{rest}", std::process::id())).unwrap();
    let third = Local::start(dir.path()).await.unwrap();
    let pid = third.pid();
    assert_ne!(pid, std::process::id());
    assert_eq!(
        number(&third.options(), "SELECT count(*) FROM pg_database WHERE datname = 'statecast'").await,
        1
    );
    third.stop().await.unwrap();
    assert!(!alive(pid));
    assert!(!file.exists());
}

#[tokio::test]
async fn ctrl_c_is_ours_alone() {
    let dir = directory();
    let local = Local::start(dir.path()).await.unwrap();
    let session = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned);
        fields.collect::<Vec<_>>()[3].clone()
    };
    assert_ne!(session(local.pid()), session(std::process::id()));
    local.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_only_root_may_enter_is_left_and_found_again() {
    if !are_we_root() {
        return;
    }
    let private = tempfile::tempdir().unwrap();
    std::fs::set_permissions(private.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let dir = private.path().join("data");
    let local = Local::start(&dir).await.unwrap();
    let elsewhere = home(&dir);
    assert!(!elsewhere.starts_with(private.path()));
    number(&local.options(), "SELECT 1::bigint").await;
    local.stop().await.unwrap();
    let again = Local::start(&dir).await.unwrap();
    assert_eq!(home(&dir), elsewhere);
    again.stop().await.unwrap();
    std::fs::remove_dir_all(elsewhere).unwrap();
}

#[tokio::test]
async fn a_long_path_gets_a_socket_elsewhere_that_only_its_user_may_enter() {
    let outer = directory();
    let dir = outer.path().join("a".repeat(60)).join("b".repeat(60));
    let local = Local::start(&dir).await.unwrap();
    let options = local.options();
    let socket = options.get_socket().unwrap().clone();
    assert!(!socket.starts_with(outer.path()));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o077, 0);
    number(&options, "SELECT 1::bigint").await;
    local.stop().await.unwrap();
    let again = Local::start(&dir).await.unwrap();
    assert_eq!(again.options().get_socket(), Some(&socket));
    again.stop().await.unwrap();
    std::fs::remove_dir_all(socket).unwrap();
}

#[tokio::test]
async fn data_of_another_version_is_refused() {
    let dir = directory();
    Local::start(dir.path()).await.unwrap().stop().await.unwrap();
    let version = home(dir.path()).join("data/PG_VERSION");
    std::fs::write(&version, "9\n").unwrap();
    let error = Local::start(dir.path()).await.unwrap_err();
    assert!(matches!(error, LocalError::WrongMajor { .. }), "{error}");
    assert!(error.to_string().contains("postgresql-9"), "{error}");
}

/// The database goes down in the middle of everything and comes back: the owner stays the owner.
#[tokio::test]
async fn an_owner_survives_a_restart_of_the_database() {
    let dir = directory();
    let local = Local::start(dir.path()).await.unwrap();
    let store = Store::connect(local.options(), 2).await.unwrap();
    store.migrate().await.unwrap();
    let owner = store.own().await.unwrap();
    let mut writer = owner.writer();
    let batch =
        |n: u64| Batch { changes: vec![change(&key(&format!("d{n}")), None, n, n)], dead_letters: vec![] };
    assert_eq!(writer.commit(&batch(1)).await.unwrap(), Outcome::default());
    local.stop().await.unwrap();
    let waiting = tokio::spawn(async move { (writer.commit(&batch(2)).await, writer) });
    let local = Local::start(dir.path()).await.unwrap();
    let (outcome, writer) = waiting.await.unwrap();
    assert_eq!(outcome, Ok(Outcome::default()));
    assert_eq!(store.count(None).await.unwrap(), 2);
    assert!(owner.reserve(1).await.is_ok());
    drop(writer);
    owner.release().await;
    store.close().await;
    local.options().connect().await.unwrap();
    local.stop().await.unwrap();
}

//! Puts all together, starts it in order, and stops it in order.
//!
//! What a program needs is started first and stopped last: database, flow, index, pushes, MQTT, HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use axum::serve::ListenerExt as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use statecast_broker::Broker;
use statecast_flow::{Flow, Rules};
use statecast_push::Dispatcher;
use statecast_search::Search;
use statecast_state::document;
use statecast_store::{Local, Owner, Store};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use crate::access::{self, Gate};
use crate::config::{Config, Mqtt};
use crate::forward::Forward;
use crate::http::{self, Http};
use crate::outbox::Outbox;
use crate::rulebook::Rulebook;
use crate::sessions::DurableSessions;
use crate::source::Truth;
use crate::tallies::Tallies;
use crate::tickets::Tickets;
use crate::{downlink, housekeeping, open_files};

/// Deliveries that may wait between the broker and the flow. The broker bounds their bytes.
const DELIVERIES_MAX: usize = 1_024;
/// How long acknowledgements may take when stopping.
const DRAIN_MAX: Duration = Duration::from_secs(8);
/// How long HTTP requests may take when stopping.
const HTTP_DRAIN_MAX: Duration = Duration::from_secs(3);

/// The service, running.
pub struct Application {
    /// Where MQTT listens.
    pub mqtt: SocketAddr,
    /// Where MQTT listens for TLS, if it does.
    pub mqtts: Option<SocketAddr>,
    /// Where HTTP listens.
    pub http: SocketAddr,
    database: Database,
    owner: Arc<Owner>,
    flow: Flow,
    broker: Broker,
    pushes: Dispatcher,
    dispatch: TaskTracker,
    stop_dispatch: CancellationToken,
    followers: TaskTracker,
    servers: TaskTracker,
    stop_followers: CancellationToken,
    stop_http: CancellationToken,
    /// Last: what they opened is used until then.
    _http_threads: http::Threads,
}

/// A connection to the database, and the private server if there is one.
pub struct Database {
    /// For reads and small writes.
    pub store: Store,
    local: Option<Local>,
}

impl Database {
    /// Connects to the configured database, starting the private server where none is configured.
    ///
    /// # Errors
    /// When there is no database to be had; says what to do.
    pub async fn open(config: &Config) -> Result<Self> {
        let connections = config.database.connections_max;
        if config.database.url.is_empty() {
            std::fs::create_dir_all(&config.data_dir)
                .with_context(|| format!("make the data directory {}", config.data_dir.display()))?;
            let local = Local::start(&config.data_dir).await.context("start the private PostgreSQL")?;
            let store = Store::connect(local.options(), connections).await?;
            return Ok(Self { store, local: Some(local) });
        }
        let options = config.database.url.parse().context("read database.url")?;
        Ok(Self {
            store: Store::connect(options, connections).await.context("connect to database.url")?,
            local: None,
        })
    }

    /// Closes the connections, and stops the private server, unless another program started it.
    ///
    /// # Errors
    /// When the private server doesn't stop.
    pub async fn close(self) -> Result<()> {
        self.store.close().await;
        if let Some(local) = self.local {
            local.stop().await.context("stop the private PostgreSQL")?;
        }
        Ok(())
    }
}

impl Application {
    /// Starts everything. When it returns, the service does its work.
    ///
    /// # Errors
    /// A chain of sentences that ends in what is wrong.
    pub async fn start(config: &Config) -> Result<Self> {
        open_files::make_room_for(config.mqtt.connections_max);
        let metrics = install_metrics()?;
        let database = Database::open(config).await?;
        let store = database.store.clone();
        if config.database.migrate {
            store.migrate().await.context("bring the schema up to date")?;
        }
        store.ensure_partitions(SystemTime::now().into()).await.context("make partitions")?;
        let owner = Arc::new(store.own().await.context("own the database")?);

        let rules = Rules::default();
        let rulebook =
            Arc::new(Rulebook::open(store.clone(), rules.clone()).await.context("read the rules")?);
        let flow = Flow::start(flow_settings(config), store.clone(), &owner, rules);
        let feed = flow.feed().clone();
        let began_at = feed.watermark();

        let names = config.mqtt.tls.as_ref().is_some_and(|tls| tls.certificate_names);
        let gate = Gate::open(store.clone(), &config.passwords, names, config.dev).await?;
        let gate = Arc::new(gate);

        let (followers, stop_followers) = (TaskTracker::new(), CancellationToken::new());
        let truth = Arc::new(Truth::new(store.clone(), flow.clone()));
        let search = Search::open(&config.data_dir.join("index"), statecast_search::Settings::default())
            .context("open the search index")?;
        followers.spawn({
            let (search, truth, stop) = (search.clone(), truth.clone(), stop_followers.clone());
            async move {
                if let Err(error) = statecast_search::follow(search, truth, stop).await {
                    error!(%error, "the search index no longer follows");
                }
            }
        });

        if config.search.check_percent > 0 {
            let (search, truth, stop) = (search.clone(), truth.clone(), stop_followers.clone());
            followers.spawn(statecast_search::check(search, truth, config.search.check_percent, stop));
        }

        let wake = Arc::new(Notify::new());
        let tickets = Arc::new(Tickets::open(&store).await?);
        let group_interval = Duration::from_millis(config.push.group_interval_ms);
        let outbox = Outbox::new(store.clone(), rulebook.clone(), tickets.clone(), group_interval);
        let outbox = Arc::new(outbox);
        let (sender, deliveries) = mpsc::channel(DELIVERIES_MAX);
        let sessions = Arc::new(DurableSessions::new(store.clone(), &owner, flow.clone()));
        let http_threads = http::Threads::start().context("start the threads of HTTP")?;
        let listener = http_threads
            .spawn(TcpListener::bind(config.http.listen))
            .await?
            .with_context(|| format!("listen for HTTP on {}", config.http.listen))?;
        let broker = Broker::start(config.mqtt.for_broker(), gate.clone(), sessions, sender)
            .await
            .with_context(|| listening(&config.mqtt))?;
        let push_settings = config.push.for_dispatcher(&config.data_dir, config.dev);
        config.push.make_key(&config.data_dir)?;
        let reach = Arc::new(push_settings.reach.clone());
        let mqtt = Arc::new(Forward::new(broker.clone()));
        let pushes = Dispatcher::start(outbox, push_settings, mqtt, wake.clone(), stop_followers.clone())?;

        let (dispatch, stop_dispatch) = (TaskTracker::new(), CancellationToken::new());
        dispatch.spawn({
            let (flow, stop) = (flow.clone(), stop_dispatch.clone());
            async move { flow.dispatch(deliveries, stop).await }
        });
        followers.spawn(downlink::follow(feed, broker.clone(), wake.clone(), stop_followers.clone()));
        followers.spawn({
            let (flow, stop) = (flow.clone(), stop_followers.clone());
            async move {
                stop.run_until_cancelled(flow.keep_time()).await;
            }
        });
        // With --dev nobody is let in for what could be taken away.
        if !config.dev {
            let (review, stop) = (access::review::run(gate.clone(), broker.clone()), stop_followers.clone());
            followers.spawn(async move {
                stop.run_until_cancelled(Box::pin(review)).await;
            });
        }
        followers.spawn({
            let house = housekeeping::run(store.clone(), config.retention.clone());
            let stop = stop_followers.clone();
            async move {
                stop.run_until_cancelled(house).await;
            }
        });

        let tallies = Arc::new(Tallies::new(store.clone(), flow.feed().clone()));
        let (servers, stop_http) = (TaskTracker::new(), CancellationToken::new());
        let address = listener.local_addr()?;
        let router = http::router(
            Http::new(http::Parts {
                flow: flow.clone(),
                store,
                search,
                truth,
                tallies,
                began_at,
                broker: broker.clone(),
                rulebook,
                tickets,
                wake_pushes: wake,
                metrics,
                gate,
                reach,
                push_statuses: pushes.statuses(),
                gates: http::Gates::default(),
                shown: http::Shown::default(),
                stop: stop_http.clone(),
            }),
            config.http.body_bytes_max,
        );
        let serve = {
            let stop = stop_http.clone();
            let router = router.into_make_service_with_connect_info::<SocketAddr>();
            // What MQTT over WebSocket sends is small and waited for. It only costs latency if it fails.
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
            async move {
                if let Err(error) = serving.await {
                    error!(%error, "HTTP ended");
                }
            }
        };
        servers.spawn_on(serve, &http_threads);
        let (mqtt, mqtts) = (broker.address(), broker.tls_address());
        Ok(Self {
            mqtt,
            mqtts,
            http: address,
            database,
            owner,
            flow,
            broker,
            pushes,
            dispatch,
            stop_dispatch,
            followers,
            servers,
            stop_followers,
            stop_http,
            _http_threads: http_threads,
        })
    }

    /// Returns when the process can't go on: somebody else owns the database, or the router fails again and again.
    ///
    /// # Errors
    /// Always; says why.
    pub async fn failed(&self) -> Result<()> {
        tokio::select! {
            () = self.owner.lost() => bail!("another process took over the database"),
            () = self.broker.router_failed() => bail!("the MQTT router failed three times in a minute"),
        }
    }

    /// Stops everything in order: refuse, drain, acknowledge, commit the index, finish pushes, close.
    ///
    /// # Errors
    /// When the private database doesn't stop.
    pub async fn stop(self) -> Result<()> {
        info!("stopping");
        // Nothing new over HTTP; requests under way are answered, live streams end.
        self.stop_http.cancel();
        self.servers.close();
        drop(tokio::time::timeout(HTTP_DRAIN_MAX, self.servers.wait()).await);
        // Nothing new over MQTT; what was read is committed and acknowledged, then connections close.
        self.broker.stop(DRAIN_MAX).await;
        self.stop_dispatch.cancel();
        self.dispatch.close();
        self.dispatch.wait().await;
        self.flow.stop(DRAIN_MAX).await;
        // The index commits what it has, and pushes under way are finished.
        self.stop_followers.cancel();
        self.followers.close();
        drop(tokio::time::timeout(DRAIN_MAX, self.followers.wait()).await);
        self.pushes.stopped().await;
        if let Some(owner) = Arc::into_inner(self.owner) {
            owner.release().await;
        }
        self.database.close().await?;
        info!("stopped");
        Ok(())
    }
}

fn flow_settings(config: &Config) -> statecast_flow::Settings {
    let limits = document::Limits {
        depth_max: config.limits.depth_max,
        payload_bytes_max: config.mqtt.packet_bytes_max,
        twin_bytes_max: config.limits.twin_bytes_max,
    };
    let grace = Duration::from_secs(config.presence.grace_s.into());
    let requests_max = config.limits.requests_per_device_max;
    statecast_flow::Settings {
        limits,
        register_unknown: config.dev,
        requests_max,
        grace,
        ..Default::default()
    }
}

/// What is being done when MQTT doesn't come up.
fn listening(mqtt: &Mqtt) -> String {
    let tls = mqtt.tls.as_ref().map(|tls| format!(", and for TLS on {}", tls.listen)).unwrap_or_default();
    format!("listen for MQTT on {}{tls}", mqtt.listen)
}

/// Seconds, from what a commit takes on a good disk to what an outage lasts.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

fn install_metrics() -> Result<PrometheusHandle> {
    let builder =
        PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?;
    builder.install_recorder().context("install the metrics recorder")
}

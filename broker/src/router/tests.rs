//! The router as connections use it, without sockets.

use std::time::Duration;

use futures::future::BoxFuture;

use super::*;
use crate::broker::{Broker, Hub};
use crate::{
    Access, Admitted, Batch, Client, Denied, Grants, Hello, Kept, NotWritten, Publication, QoS, Sessions,
};

struct Nobody;

impl Access for Nobody {
    fn connect<'a>(&'a self, _: &'a Hello) -> BoxFuture<'a, Result<Admitted, Denied>> {
        Box::pin(async { Err(Denied::NotAuthorized) })
    }
}
impl Sessions for Nobody {
    fn subscribed<'a>(&'a self, _: &'a Client, _: &'a [Arc<str>]) -> BoxFuture<'a, Vec<Publication>> {
        Box::pin(async { Vec::new() })
    }
    fn received(&self, _: &Client, _: &str, _: u64) {}
    fn load(&self) -> BoxFuture<'_, Result<Kept, NotWritten>> {
        Box::pin(async { Ok(Kept::default()) })
    }
    fn write<'a>(&'a self, _: &'a Batch) -> BoxFuture<'a, Result<(), NotWritten>> {
        Box::pin(async { Ok(()) })
    }
}
impl Grants for Nobody {
    fn may_publish(&self, _: &str) -> bool {
        true
    }
    fn may_subscribe(&self, _: &str) -> bool {
        true
    }
    fn may_receive(&self, _: &str) -> bool {
        true
    }
}

async fn broker() -> Broker {
    let (deliveries, _) = mpsc::channel(1);
    Broker::start(Config::default(), Arc::new(Nobody), Arc::new(Nobody), deliveries).await.expect("a port")
}

fn peer(connection: u64) -> Arc<Peer> {
    let client = Client {
        realm: "r".into(),
        name: "n".into(),
        client_id: "c".into(),
        connection,
        grants: Arc::new(Nobody),
    };
    Peer::new(Arc::new(client), 1_000_000)
}

const OPTIONS: Options =
    Options { qos: QoS::AtLeastOnce, no_local: false, keep_retain: false, identifier: None };

async fn subscribe(hub: &Hub, feed: &Arc<Feed>, pattern: &str) {
    let in_force = hub.router.subscribe(feed, &pattern.into(), OPTIONS).expect("below the limit");
    soon(in_force).await.expect("the router runs");
}

/// Publishes and returns when the router has it.
async fn publish(hub: &Hub, topic: &str) {
    let message = Message {
        topic: topic.into(),
        payload: "x".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        from: 0,
        expiry: None,
        properties: None,
    };
    let (receipt, taken) = Receipt::watched();
    let place = Arc::clone(&hub.router.places).acquire_owned().await.expect("never closed");
    hub.router.publish("r", &message, receipt, place);
    soon(taken).await.expect("taken").expect("accepted");
}

async fn arrives(peer: &Peer) -> Arc<str> {
    let arrived = async {
        loop {
            if let Some(letter) = peer.outbox.lock().pop() {
                return letter.topic;
            }
            peer.wake.notified().await;
        }
    };
    soon(arrived).await
}

/// Waits for something that must happen.
async fn soon<T>(happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), happens).await.expect("it happens soon")
}

#[tokio::test]
async fn a_dead_router_is_started_again_with_its_filters() {
    let broker = broker().await;
    let hub = broker.hub();
    let peer = peer(1);
    let feed = hub.router.open(&peer).expect("below the limit");
    subscribe(hub, &feed, "a/+").await;
    publish(hub, "a/1").await;
    assert_eq!(&*arrives(&peer).await, "a/1");
    hub.router.command(Command::Kill);
    for topic in ["a/2", "a/3"] {
        publish(hub, topic).await;
        assert_eq!(&*arrives(&peer).await, topic);
    }
    hub.router.command(Command::Kill);
    publish(hub, "a/4").await;
    assert!(!hub.router.failed.is_cancelled(), "twice is not too often");
    hub.router.command(Command::Kill);
    soon(broker.router_failed()).await;
}

#[tokio::test]
async fn names_of_links_are_used_again() {
    let broker = broker().await;
    let hub = broker.hub();
    for round in 0..20 {
        let peer = peer(round);
        let feed = hub.router.open(&peer).expect("below the limit");
        subscribe(hub, &feed, "a/#").await;
        subscribe(hub, &feed, "b").await;
        publish(hub, "a").await;
        publish(hub, "b").await;
        assert_eq!(&*arrives(&peer).await, "a");
        assert_eq!(&*arrives(&peer).await, "b");
        hub.router.close(&feed);
    }
    assert!(hub.router.feeds.lock().is_empty());
    broker.stop(Duration::from_secs(1)).await;
}

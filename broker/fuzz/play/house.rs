//! Whoever started the broker: lets everybody in, and decides on deliveries as the script says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use statecast_broker::{
    Access, Admitted, Batch, Client, Delivery, Denied, Grants, Hello, Kept, NotWritten, Publication, QoS,
    Receipt, Refused, Sessions,
};
use tokio::sync::{Notify, mpsc};

/// What becomes of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Refuse,
    /// The receipt is dropped: it wasn't stored.
    Drop,
    /// Nothing yet, as in an outage.
    Hold,
}

#[derive(Default)]
pub struct House {
    /// How many inputs were played. Each has a realm of its own, so that nothing of another is seen.
    inputs: AtomicU64,
    /// The names of those who were let in since then.
    names: std::sync::Mutex<BTreeSet<String>>,
    verdict: std::sync::Mutex<Option<Verdict>>,
    /// What is held can be decided.
    changed: Notify,
}

impl House {
    /// An input begins.
    pub fn begin(&self) {
        self.inputs.fetch_add(1, Ordering::Relaxed);
        self.names.lock().expect("nobody panics with it").clear();
        self.relent();
    }

    /// Who was let in by this input, each of whom may have sessions.
    pub fn names(&self) -> BTreeSet<String> {
        self.names.lock().expect("nobody panics with it").clone()
    }

    /// The realm of the input that is played.
    pub fn realm(&self) -> String {
        format!("r{}", self.inputs.load(Ordering::Relaxed))
    }

    /// What becomes of the deliveries that come.
    pub fn decide_from_now_on(&self, verdict: Verdict) {
        *self.verdict.lock().expect("nobody panics with it") = Some(verdict);
        self.changed.notify_one();
    }

    /// Accepts everything, also what was held.
    pub fn relent(&self) {
        self.decide_from_now_on(Verdict::Accept);
    }

    fn verdict(&self) -> Verdict {
        self.verdict.lock().expect("nobody panics with it").unwrap_or(Verdict::Accept)
    }

    /// Decides on all deliveries, in order.
    pub async fn decide(self: Arc<Self>, mut deliveries: mpsc::Receiver<Delivery>) {
        let mut held: Vec<Receipt> = Vec::new();
        loop {
            tokio::select! {
                delivery = deliveries.recv() => match delivery {
                    Some(delivery) => held.push(delivery.receipt),
                    None => return,
                },
                () = self.changed.notified() => {}
            }
            let verdict = self.verdict();
            if verdict != Verdict::Hold {
                held.drain(..).for_each(|receipt| resolve(receipt, verdict));
            }
        }
    }
}

fn resolve(receipt: Receipt, verdict: Verdict) {
    match verdict {
        Verdict::Accept => receipt.accept(),
        Verdict::Refuse => receipt.refuse(Refused::Payload("it isn't what it should be".into())),
        Verdict::Drop | Verdict::Hold => drop(receipt),
    }
}

struct Most;

impl Grants for Most {
    fn may_publish(&self, topic: &str) -> bool {
        !topic.contains("forbidden")
    }
    fn may_subscribe(&self, filter: &str) -> bool {
        !filter.contains("forbidden")
    }
    fn may_receive(&self, topic: &str) -> bool {
        !topic.contains("secret")
    }
}

impl Access for House {
    fn connect<'a>(&'a self, hello: &'a Hello) -> BoxFuture<'a, Result<Admitted, Denied>> {
        async move {
            match hello.password.as_deref() {
                Some(b"wrong") => Err(Denied::Credentials),
                _ => {
                    let name = hello.user_name.as_deref().unwrap_or("n");
                    self.names.lock().expect("nobody panics with it").insert(name.to_owned());
                    Ok(Admitted { realm: self.realm().into(), name: name.into(), grants: Arc::new(Most) })
                }
            }
        }
        .boxed()
    }
}

impl Sessions for House {
    fn subscribed<'a>(&'a self, _: &'a Client, filters: &'a [Arc<str>]) -> BoxFuture<'a, Vec<Publication>> {
        let exact = filters.iter().filter(|filter| !filter.contains(['+', '#', '$']));
        let first = exact.map(|topic| Publication {
            topic: Arc::clone(topic),
            payload: "first".into(),
            qos: QoS::ExactlyOnce,
            retain: true,
            latest_only: true,
            mark: None,
        });
        std::future::ready(first.collect()).boxed()
    }

    fn received(&self, _: &Client, _: &str, _: u64) {}

    fn load(&self) -> BoxFuture<'_, Result<Kept, NotWritten>> {
        std::future::ready(Ok(Kept::default())).boxed()
    }

    /// Nothing is started again here, so nothing has to be found again.
    fn write<'a>(&'a self, _: &'a Batch) -> BoxFuture<'a, Result<(), NotWritten>> {
        std::future::ready(Ok(())).boxed()
    }
}

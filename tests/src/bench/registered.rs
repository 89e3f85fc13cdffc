//! A service as it runs in production, with registered devices: each connects with its token.

use std::ops::Range;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use statecast_tests::{Api, Service};
use tokio::net::TcpStream;

use crate::{load, packets};

/// Calls that register devices at the same time.
const REGISTERING: usize = 16;

/// The service, and the tokens of the devices `0..`.
pub(crate) struct Registered {
    pub(crate) service: Service,
    pub(crate) api: Api,
    tokens: Vec<String>,
}

impl Registered {
    /// Starts a service without `--dev`, and registers so many devices.
    ///
    /// # Errors
    /// When anything fails.
    pub(crate) async fn start(devices: usize) -> Result<Self> {
        let service = Service::start_with(&[])?;
        let api = service.api().with_key(&service.key("default").await?);
        let registering = (0..devices).map(|number| {
            let api = api.clone();
            async move { api.register(&packets::device(number)).await }
        });
        let tokens = stream::iter(registering).buffered(REGISTERING).try_collect().await?;
        Ok(Self { service, api, tokens })
    }

    /// Connects devices once, so many at a time; `which` keeps several connections of one device apart.
    ///
    /// # Errors
    /// When one isn't let in.
    pub(crate) async fn connect_all(
        &self,
        devices: Range<usize>,
        which: &str,
        opening: usize,
    ) -> Result<Vec<TcpStream>> {
        stream::iter(devices.map(|number| self.connect(number, which))).buffered(opening).try_collect().await
    }

    async fn connect(&self, number: usize, which: &str) -> Result<TcpStream> {
        let (device, token) = (packets::device(number), self.tokens.get(number).context("no such device")?);
        load::open(&self.service.mqtt, &format!("{device}-{which}"), &device, token).await
    }
}

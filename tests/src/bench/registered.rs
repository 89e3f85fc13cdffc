//! A service as it runs in production, with registered devices: each connects with its token.

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

    /// Connects a device.
    ///
    /// # Errors
    /// When it isn't let in.
    pub(crate) async fn connect(&self, number: usize) -> Result<TcpStream> {
        let (device, token) = (packets::device(number), self.tokens.get(number).context("no such device")?);
        load::open(&self.service.mqtt, &device, &device, token).await
    }

    /// Connects devices, so many at a time.
    ///
    /// # Errors
    /// When one isn't let in.
    pub(crate) async fn connect_all(&self, devices: usize, opening: usize) -> Result<Vec<TcpStream>> {
        stream::iter((0..devices).map(|number| self.connect(number))).buffered(opening).try_collect().await
    }
}

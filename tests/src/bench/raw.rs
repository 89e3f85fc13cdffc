//! The raw limit R0: the rows that the service writes, written into the same tables by a minimal loader, with no
//! broker, no handlers and no index. The rows are what the service itself wrote for each device at first.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use rand::seq::SliceRandom;
use sqlx::Row;
use sqlx::postgres::PgConnectOptions;

use crate::database;

/// Connections and rows of a batch that are tried.
const CONNECTIONS: [usize; 3] = [1, 2, 3];
const BATCHES: [usize; 5] = [100, 250, 500, 1_000, 1_500];

/// How the loader is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Connections that write at once.
    pub(crate) connections: usize,
    /// Rows of a batch.
    pub(crate) batch: usize,
}

/// What is written for a device, again and again.
struct Device {
    id: String,
    version: i64,
    reported: String,
    reported_at: String,
    patch: String,
    inverse: String,
}

/// The loader, over a database that no service uses any more.
pub(crate) struct Raw {
    options: PgConnectOptions,
    devices: Vec<Device>,
    position: Arc<AtomicI64>,
}

impl Raw {
    /// Reads what the service wrote.
    ///
    /// # Errors
    /// When the database can't be read, or holds nothing.
    pub(crate) async fn open(options: PgConnectOptions) -> Result<Self> {
        let mut connection = database::writer(options.clone()).await?;
        let rows = sqlx::query(
            "SELECT d.device, d.version, d.position, d.reported::text, d.reported_at::text, h.patch::text, h.inverse::text
             FROM devices d JOIN history h ON h.position = d.position ORDER BY d.device",
        )
        .fetch_all(&mut connection)
        .await
        .context("read what the service wrote")?;
        let mut last = 0_i64;
        let mut devices = Vec::with_capacity(rows.len());
        for row in rows {
            last = last.max(row.try_get(2)?);
            devices.push(Device {
                id: row.try_get(0)?,
                version: row.try_get(1)?,
                reported: row.try_get(3)?,
                reported_at: row.try_get(4)?,
                patch: row.try_get(5)?,
                inverse: row.try_get(6)?,
            });
        }
        ensure!(!devices.is_empty(), "there are no devices to write");
        Ok(Self { options, devices, position: Arc::new(AtomicI64::new(last + 1)) })
    }

    /// Tries every setting for this time each; gives them with their rows per second, best first.
    ///
    /// # Errors
    /// When a row isn't written.
    pub(crate) async fn sweep(&mut self, time: Duration) -> Result<Vec<(Setting, f64)>> {
        let mut tried = Vec::new();
        for connections in CONNECTIONS {
            for batch in BATCHES {
                let setting = Setting { connections, batch };
                tried.push((setting, self.run(setting, time).await?));
            }
        }
        tried.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        Ok(tried)
    }

    /// Writes for this time; gives rows per second.
    ///
    /// # Errors
    /// When a row isn't written.
    pub(crate) async fn run(&mut self, setting: Setting, time: Duration) -> Result<f64> {
        let mut shares: Vec<Vec<Device>> = (0..setting.connections).map(|_| Vec::new()).collect();
        // Devices come in any order, as messages do.
        self.devices.shuffle(&mut rand::rng());
        for (number, device) in self.devices.drain(..).enumerate() {
            shares[number % setting.connections].push(device);
        }
        let mut writers = tokio::task::JoinSet::new();
        for share in shares {
            let mut connection = database::writer(self.options.clone()).await?;
            let position = self.position.clone();
            writers.spawn(async move {
                let mut writer = Writer { devices: share, position, batch: setting.batch };
                // The first batch is planned and not counted.
                writer.write(&mut connection, 0).await?;
                let (begun, mut rows, mut next) = (Instant::now(), 0, 1);
                while begun.elapsed() < time {
                    rows += writer.write(&mut connection, next).await?;
                    next += 1;
                }
                #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
                let rate = rows as f64 / begun.elapsed().as_secs_f64();
                Ok::<_, anyhow::Error>((writer.devices, rate))
            });
        }
        let mut total = 0.0;
        while let Some(written) = writers.join_next().await {
            let (devices, rate) = written.context("a writer panicked")??;
            self.devices.extend(devices);
            total += rate;
        }
        Ok(total)
    }
}

struct Writer {
    devices: Vec<Device>,
    position: Arc<AtomicI64>,
    batch: usize,
}

impl Writer {
    /// Writes a batch of devices, the next in turn, in the order of their index; gives how many.
    async fn write(&mut self, connection: &mut sqlx::PgConnection, number: usize) -> Result<usize> {
        let size = self.batch.min(self.devices.len());
        let start = number * size % (self.devices.len() - size + 1);
        let batch = &mut self.devices[start..start + size];
        batch.sort_by(|a, b| a.id.cmp(&b.id));
        let count = i64::try_from(batch.len())?;
        let first = self.position.fetch_add(count, Ordering::Relaxed);
        let now = Utc::now();
        let written: i64 = sqlx::query(include_str!("raw.sql"))
            .bind(batch.iter().map(|device| device.id.as_str()).collect::<Vec<_>>())
            .bind(batch.iter().map(|device| device.version).collect::<Vec<_>>())
            .bind((first..first + count).collect::<Vec<_>>())
            .bind(vec![now; batch.len()])
            .bind(batch.iter().map(|device| device.reported.as_str()).collect::<Vec<_>>())
            .bind(batch.iter().map(|device| device.reported_at.as_str()).collect::<Vec<_>>())
            .bind(batch.iter().map(|device| device.patch.as_str()).collect::<Vec<_>>())
            .bind(batch.iter().map(|device| device.inverse.as_str()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
            .context("write a batch")?
            .first()
            .context("no answer")?
            .try_get(0)?;
        ensure!(written == count, "{written} rows of {count} were written");
        for device in batch.iter_mut() {
            device.version += 1;
        }
        Ok(batch.len())
    }
}

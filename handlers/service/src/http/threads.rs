//! The threads that answer HTTP. They are not those that take what devices send: who asks would wait until hundreds of
//! messages are worked off that came in together. This way the system shares the processors between the two.

use std::io;
use std::ops::Deref;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads of their own, until it is dropped. To be kept as long as anything is used that they opened, e.g. a connection
/// of the pool.
pub struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// As many as there are processors; they sleep while nobody asks.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("http").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Deref for Threads {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Who drops it may itself run on a runtime, where nobody may wait for another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

//! What a receiver is told to do wrong.

use serde::Deserialize;

/// How the next webhooks are answered. Pure: asked once for each webhook.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Faults {
    /// The status of the answer, 200-599; none: 204, as if nothing was wrong.
    #[serde(default)]
    pub(crate) status: Option<u16>,
    /// How many webhooks that goes for; none: all.
    #[serde(default)]
    pub(crate) times: Option<u64>,
    /// `Retry-After`, in seconds.
    #[serde(default)]
    pub(crate) retry_after_s: Option<u64>,
    /// How long the answer is held back, in milliseconds.
    #[serde(default)]
    pub(crate) delay_ms: u64,
}

impl Faults {
    /// What goes wrong with the next webhook; none when nothing does any more.
    pub(crate) fn next(&mut self) -> Option<Self> {
        if self.status.is_none() && self.delay_ms == 0 {
            return None;
        }
        if let Some(left) = &mut self.times {
            *left = left.checked_sub(1)?;
        }
        Some(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_end_after_so_many_times() {
        let mut faults = Faults { status: Some(503), times: Some(2), ..Faults::default() };
        assert_eq!(faults.next().and_then(|fault| fault.status), Some(503));
        assert!(faults.next().is_some());
        assert!(faults.next().is_none());
        assert!(Faults::default().next().is_none());
        let mut for_ever = Faults { status: Some(410), ..Faults::default() };
        assert!((0..1_000).all(|_| for_ever.next().is_some()));
    }
}

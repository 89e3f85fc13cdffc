//! A meter of electricity, on the mains.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;

use super::{Behaviour, Document, daily_curve, rounded};

pub(super) struct Meter {
    /// What is always on, and what comes with the day.
    base_w: f64,
    day_w: f64,
    energy_kwh: f64,
    relay_on: bool,
}

impl Meter {
    pub(super) fn new(chance: &mut StdRng) -> Self {
        Self {
            base_w: chance.random_range(60.0..400.0),
            day_w: chance.random_range(300.0..2_500.0),
            energy_kwh: chance.random_range(100.0..40_000.0),
            relay_on: true,
        }
    }
}

impl Behaviour for Meter {
    fn introduce(&self) -> Document {
        Document::from_iter([
            ("energy_kwh".into(), rounded(self.energy_kwh, 2).into()),
            ("relay_on".into(), self.relay_on.into()),
            ("grid".into(), json!({ "phases": 3, "frequency_hz": 50 })),
        ])
    }

    fn read(&mut self, hour: f64, chance: &mut StdRng) -> Document {
        let by_day = 0.5 + 0.5 * daily_curve(hour);
        let power_w = self.base_w + self.day_w * by_day * chance.random_range(0.5..1.1);
        self.energy_kwh += power_w / 60_000.0;
        let mut document = Document::from_iter([
            ("power_w".into(), power_w.round().into()),
            ("energy_kwh".into(), rounded(self.energy_kwh, 2).into()),
        ]);
        // The inner object is patched too: its other properties stay.
        if chance.random_bool(0.1) {
            let voltage = rounded(chance.random_range(225.0..235.0), 1);
            document.insert("grid".into(), json!({ "voltage": voltage }));
        }
        document
    }

    fn obey(&mut self, _desired: &Document) -> Result<(), String> {
        Err("a meter only measures".into())
    }
}

//! A thermostat: keeps a room near its target, and does what it is told if that makes sense.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;

use super::battery::Battery;
use super::{Behaviour, Document, daily_curve, rounded};

/// Targets that can be set, in degrees Celsius.
const TARGETS: std::ops::RangeInclusive<f64> = 5.0..=30.0;
const MODES: [&str; 4] = ["heat", "auto", "eco", "off"];

pub(super) struct Thermostat {
    target: f64,
    mode: String,
    /// How much warmer or colder its room is than what it is set to.
    room: f64,
    humidity: f64,
    battery: Battery,
}

impl Thermostat {
    pub(super) fn new(chance: &mut StdRng) -> Self {
        Self {
            target: f64::from(chance.random_range(38..=44)) / 2.0,
            mode: MODES[chance.random_range(0..MODES.len() - 1)].into(),
            room: chance.random_range(-0.8..0.8),
            humidity: chance.random_range(35.0..60.0),
            battery: Battery::new(chance),
        }
    }
}

impl Behaviour for Thermostat {
    fn introduce(&self) -> Document {
        Document::from_iter([
            ("target".into(), self.target.into()),
            ("mode".into(), self.mode.as_str().into()),
            ("temperature".into(), rounded(self.target + self.room, 1).into()),
            ("humidity".into(), self.humidity.round().into()),
            ("battery".into(), self.battery.level().into()),
        ])
    }

    fn read(&mut self, hour: f64, chance: &mut StdRng) -> Document {
        self.battery.drain(chance);
        self.humidity = (self.humidity + chance.random_range(-0.6..0.6)).clamp(20.0, 80.0);
        let temperature = self.target + self.room + 1.5 * daily_curve(hour) + chance.random_range(-0.2..0.2);
        let mut document = Document::from_iter([
            ("temperature".into(), rounded(temperature, 1).into()),
            ("humidity".into(), self.humidity.round().into()),
            ("battery".into(), self.battery.level().into()),
        ]);
        if chance.random_bool(0.002) {
            self.mode = MODES[chance.random_range(0..MODES.len())].into();
            document.insert("mode".into(), self.mode.as_str().into());
        }
        document
    }

    fn obey(&mut self, desired: &Document) -> Result<(), String> {
        // All of it or nothing: looked at first, then taken over.
        let target = match desired.get("target") {
            None => self.target,
            Some(value) => value
                .as_f64()
                .filter(|target| TARGETS.contains(target))
                .ok_or_else(|| format!("target must be {} to {}", TARGETS.start(), TARGETS.end()))?,
        };
        let mode = match desired.get("mode").map(Value::as_str) {
            None => self.mode.clone(),
            Some(Some(mode)) if MODES.contains(&mode) => mode.into(),
            Some(_) => return Err(format!("mode must be one of {}", MODES.join(", "))),
        };
        (self.target, self.mode) = (target, mode);
        Ok(())
    }
}

//! A tracker on a vehicle: drives for a while, stands for a while.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::battery::Battery;
use super::{Behaviour, Document, rounded};

pub(super) struct Tracker {
    latitude: f64,
    longitude: f64,
    heading_rad: f64,
    moving: bool,
    battery: Battery,
}

impl Tracker {
    pub(super) fn new(chance: &mut StdRng) -> Self {
        Self {
            latitude: chance.random_range(47.0..54.0),
            longitude: chance.random_range(6.5..14.5),
            heading_rad: chance.random_range(0.0..std::f64::consts::TAU),
            moving: chance.random_bool(0.4),
            battery: Battery::new(chance),
        }
    }

    fn position(&self) -> Value {
        json!({ "lat": rounded(self.latitude, 5), "lon": rounded(self.longitude, 5) })
    }
}

impl Behaviour for Tracker {
    fn introduce(&self) -> Document {
        Document::from_iter([
            ("position".into(), self.position()),
            ("moving".into(), self.moving.into()),
            ("battery".into(), self.battery.level().into()),
        ])
    }

    fn read(&mut self, _hour: f64, chance: &mut StdRng) -> Document {
        self.battery.drain(chance);
        let mut document = Document::from_iter([("battery".into(), self.battery.level().into())]);
        if chance.random_bool(0.05) {
            self.moving = !self.moving;
            document.insert("moving".into(), self.moving.into());
            if !self.moving {
                document.insert("speed_kmh".into(), Value::Null);
            }
        }
        if self.moving {
            let speed_kmh: f64 = chance.random_range(20.0..110.0);
            // A minute's drive: a degree of latitude is about 111 km.
            let step = speed_kmh / 60.0 / 111.0;
            self.heading_rad += chance.random_range(-0.4..0.4);
            self.latitude = (self.latitude + step * self.heading_rad.cos()).clamp(40.0, 60.0);
            self.longitude = (self.longitude + step * self.heading_rad.sin()).clamp(0.0, 25.0);
            document.insert("speed_kmh".into(), speed_kmh.round().into());
            document.insert("position".into(), self.position());
        }
        document
    }

    fn obey(&mut self, _desired: &Document) -> Result<(), String> {
        Err("a tracker only follows its vehicle".into())
    }
}

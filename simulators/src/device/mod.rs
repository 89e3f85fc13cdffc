//! Simulated devices: what they are, what they measure and how they obey. Pure: all that a device does follows
//! from the seed, its index, the moments at which it is asked, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use crate::random::{self, Purpose};

mod battery;
mod message;
mod thermostat;
mod door;
mod meter;
mod tracker;

pub(crate) use message::{state_message, will_message};

/// A JSON object: what a device reports, and what it is told to be.
pub(crate) type Document = Map<String, Value>;

/// Hour of the simulated day at which a run begins.
const FIRST_HOUR: f64 = 8.0;

/// What a device can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Thermostat,
    Door,
    Meter,
    Tracker,
}

impl Kind {
    /// The kind of device `index`: of 20 there are 8 thermostats, 5 doors, 4 meters and 3 trackers.
    pub(crate) fn of(index: usize) -> Self {
        match index % 20 {
            0..8 => Self::Thermostat,
            8..13 => Self::Door,
            13..17 => Self::Meter,
            _ => Self::Tracker,
        }
    }

    /// Its name in ids and in the property `type`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Thermostat => "thermostat",
            Self::Door => "door",
            Self::Meter => "meter",
            Self::Tracker => "tracker",
        }
    }
}

/// What makes one kind of device different from another.
trait Behaviour: Send + Sync {
    /// Everything that it knows of itself, said once after it started.
    fn introduce(&self) -> Document;

    /// What it measures now, and what has changed; `hour` is the hour of the day, 0-24.
    fn read(&mut self, hour: f64, chance: &mut StdRng) -> Document;

    /// Takes over what it is told to be. The text says why it won't.
    fn obey(&mut self, desired: &Document) -> Result<(), String>;
}

/// The id of device `index`: its kind, and a number of five digits or more.
pub(crate) fn id_of(index: usize) -> String {
    format!("{}-{index:05}", Kind::of(index).name())
}

/// The tags that people would give device `index`: where it is, and on which floor.
pub(crate) fn tags_of(index: usize) -> Value {
    const SITES: [&str; 5] = ["north", "south", "harbour", "campus", "lab"];
    json!({ "site": SITES[index / 20 % SITES.len()], "floor": index / 100 % 8 })
}

/// One simulated device.
pub(crate) struct Device {
    /// Its id, its client id and its user name.
    pub(crate) id: Arc<str>,
    /// What it is.
    pub(crate) kind: Kind,
    /// It loses its connection now and then: one in 20.
    pub(crate) restless: bool,
    behaviour: Box<dyn Behaviour>,
    chance: StdRng,
    firmware: &'static str,
    /// It refuses whatever it is told: one in 25.
    stubborn: bool,
    faulty: bool,
}

impl Device {
    /// Device `index` in the run with this seed.
    pub(crate) fn new(seed: u64, index: usize) -> Self {
        const FIRMWARE: [&str; 4] = ["1.2.0", "1.2.3", "1.3.1", "2.0.0"];
        let mut chance = random::sequence(seed, index, Purpose::Device);
        let kind = Kind::of(index);
        let behaviour: Box<dyn Behaviour> = match kind {
            Kind::Thermostat => Box::new(thermostat::Thermostat::new(&mut chance)),
            Kind::Door => Box::new(door::Door::new(&mut chance)),
            Kind::Meter => Box::new(meter::Meter::new(&mut chance)),
            Kind::Tracker => Box::new(tracker::Tracker::new(&mut chance)),
        };
        Self {
            id: id_of(index).into(),
            kind,
            restless: chance.random_bool(0.05),
            firmware: FIRMWARE[chance.random_range(0..FIRMWARE.len())],
            stubborn: chance.random_bool(0.04),
            faulty: false,
            behaviour,
            chance,
        }
    }

    /// Whether the service publishes a last message for it when its connection breaks.
    pub(crate) fn leaves_a_will(&self) -> bool {
        matches!(self.kind, Kind::Door | Kind::Tracker)
    }

    /// What it says of itself when it has started.
    pub(crate) fn introduce(&self) -> Document {
        let mut document = self.behaviour.introduce();
        document.insert("type".into(), self.kind.name().into());
        document.insert("firmware".into(), self.firmware.into());
        if self.leaves_a_will() {
            document.insert("link".into(), "up".into());
        }
        document
    }

    /// What it measures so long after the start of the run, in simulated time.
    pub(crate) fn read(&mut self, since_start: Duration) -> Document {
        let hour = (FIRST_HOUR + since_start.as_secs_f64() / 3_600.0) % 24.0;
        let mut document = self.behaviour.read(hour, &mut self.chance);
        // An error is rare, and is over after a few readings.
        if !self.faulty && self.chance.random_bool(0.001) {
            self.faulty = true;
            document.insert("error".into(), "sensor doesn't answer".into());
        } else if self.faulty && self.chance.random_bool(0.25) {
            self.faulty = false;
            document.insert("error".into(), Value::Null);
        }
        document
    }

    /// Takes over what it is told to be, and answers what it then reports; the text says why it won't.
    pub(crate) fn obey(&mut self, desired: &Document) -> Result<Document, String> {
        if self.stubborn {
            return Err("locked by the person in the room".into());
        }
        self.behaviour.obey(desired)?;
        Ok(desired.clone())
    }
}

/// A number rounded to so many digits after the point, as sensors send it.
fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

/// From -1 at 4 o'clock in the morning to 1 at 4 o'clock in the afternoon.
fn daily_curve(hour: f64) -> f64 {
    ((hour - 10.0) / 24.0 * std::f64::consts::TAU).sin()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashSet;

    fn life(seed: u64, index: usize, readings: u64) -> Vec<Document> {
        let mut device = Device::new(seed, index);
        let mut all = vec![device.introduce()];
        all.extend((0..readings).map(|minute| device.read(Duration::from_secs(minute * 60))));
        all
    }

    #[test]
    fn a_seed_gives_the_same_lives() {
        for index in 0..40 {
            assert_eq!(life(7, index, 100), life(7, index, 100));
            assert_ne!(life(7, index, 100), life(8, index, 100), "device {index}");
        }
    }

    #[test]
    fn ids_are_unlike_and_allowed() {
        let ids: HashSet<String> = (0..2_000).map(id_of).collect();
        assert_eq!(ids.len(), 2_000);
        assert!(ids.iter().all(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')));
    }

    #[test]
    fn some_batteries_are_low_and_all_that_have_one_fall() {
        let mut low = 0;
        for index in 0..400 {
            let documents = life(7, index, 2_000);
            let levels: Vec<f64> =
                documents.iter().filter_map(|document| document.get("battery")?.as_f64()).collect();
            if Kind::of(index) == Kind::Meter {
                assert!(levels.is_empty(), "a meter hangs on the mains");
                continue;
            }
            assert!(levels.iter().all(|level| (0.0..=100.0).contains(level)));
            assert!(levels.windows(2).any(|pair| pair[1] < pair[0]), "device {index} never falls");
            let rises = levels.windows(2).filter(|pair| pair[1] > pair[0]).count();
            assert!(rises <= levels.len() / 200, "device {index} is charged {rises} times");
            low += usize::from(levels[0] < 20.0);
        }
        assert!((20..160).contains(&low), "{low} of 400 are low at the start");
    }

    #[test]
    fn doors_change_rarely_and_thermostats_follow_the_day() {
        let opened = life(7, 8, 1_000).iter().filter(|document| document.contains_key("open")).count();
        assert!((5..500).contains(&opened), "{opened} changes in 1,000 readings");
        let mean = |hours: std::ops::Range<u64>| {
            let mut device = Device::new(7, 0);
            let count = hours.end - hours.start;
            let sum: f64 = hours
                .map(|hour| device.read(Duration::from_secs((hour - 8) * 3_600)))
                .map(|document| document["temperature"].as_f64().unwrap())
                .sum();
            sum / f64::from(u32::try_from(count).unwrap())
        };
        assert!(mean(14..18) > mean(26..30), "it is warmer in the afternoon than at night");
    }

    #[test]
    fn an_error_comes_and_goes() {
        let errors: Vec<Value> =
            (0..50).flat_map(|index| life(7, index, 500)).filter_map(|mut d| d.remove("error")).collect();
        assert!(errors.iter().any(Value::is_string) && errors.iter().any(Value::is_null));
    }

    #[test]
    fn most_obey_what_makes_sense_and_some_refuse() {
        let desired = json!({"target": 23.5}).as_object().unwrap().clone();
        let answers: Vec<_> = (0..1_000)
            .filter(|index| Kind::of(*index) == Kind::Thermostat)
            .map(|index| Device::new(7, index).obey(&desired))
            .collect();
        let obeyed = answers.iter().filter(|answer| answer.as_ref() == Ok(&desired)).count();
        assert!(obeyed > answers.len() * 9 / 10 && obeyed < answers.len());
        let too_hot = json!({"target": 99}).as_object().unwrap().clone();
        assert!((0..8).all(|index| Device::new(7, index).obey(&too_hot).is_err()));
    }
}

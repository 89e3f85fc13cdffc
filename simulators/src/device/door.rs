//! A door with a lock: most of its readings say only that it still lives.

use rand::Rng;
use rand::rngs::StdRng;

use super::battery::Battery;
use super::{Behaviour, Document};

pub(super) struct Door {
    open: bool,
    locked: bool,
    tampered: bool,
    signal_dbm: i32,
    battery: Battery,
}

impl Door {
    pub(super) fn new(chance: &mut StdRng) -> Self {
        let open = chance.random_bool(0.15);
        Self {
            open,
            locked: !open && chance.random_bool(0.6),
            tampered: false,
            signal_dbm: chance.random_range(-85..-45),
            battery: Battery::new(chance),
        }
    }
}

impl Behaviour for Door {
    fn introduce(&self) -> Document {
        Document::from_iter([
            ("open".into(), self.open.into()),
            ("locked".into(), self.locked.into()),
            ("tamper".into(), self.tampered.into()),
            ("rssi".into(), self.signal_dbm.into()),
            ("battery".into(), self.battery.level().into()),
        ])
    }

    fn read(&mut self, hour: f64, chance: &mut StdRng) -> Document {
        self.battery.drain(chance);
        let signal_dbm = (self.signal_dbm + chance.random_range(-2..=2)).clamp(-95, -35);
        self.signal_dbm = signal_dbm;
        let mut document = Document::from_iter([
            ("rssi".into(), signal_dbm.into()),
            ("battery".into(), self.battery.level().into()),
        ]);
        // People come and go by day; an open door is soon shut.
        let by_day = (7.0..19.0).contains(&hour);
        let moves = if self.open {
            0.5
        } else if by_day {
            0.12
        } else {
            0.01
        };
        if chance.random_bool(moves) {
            self.open = !self.open;
            self.locked = !self.open && !by_day;
            document.insert("open".into(), self.open.into());
            document.insert("locked".into(), self.locked.into());
        }
        let tampering = if self.tampered { 0.2 } else { 0.0005 };
        if chance.random_bool(tampering) {
            self.tampered = !self.tampered;
            document.insert("tamper".into(), self.tampered.into());
        }
        document
    }

    fn obey(&mut self, _desired: &Document) -> Result<(), String> {
        Err("a door is locked by hand".into())
    }
}

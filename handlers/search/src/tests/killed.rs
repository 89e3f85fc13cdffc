//! An index that is killed again and again is what the feed says, whatever was under way.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use statecast_state::{DeviceKey, Position, Twin};
use tantivy::Directory;
use tantivy::directory::TerminatingWrite;

use super::fleet::key;
use crate::directory::Deferred;
use crate::range::{self, Range};
use crate::{Search, Settings};

/// A fault that one kill in forty shows is found.
const KILLS: usize = 250;

/// What happens in a life: the devices of each commit, and whether the disk is brought up to date after it.
fn life() -> impl Strategy<Value = Vec<(Vec<usize>, bool)>> {
    vec((vec(0_usize..300, 1..60), prop::bool::weighted(0.4)), 1..10)
}

#[test]
fn a_device_has_one_document_however_often_the_index_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let hands = Search::open(dir.path(), Settings::default()).unwrap().take_hands().unwrap();
    drop(hands.shelf.create().unwrap().finish(Position(0), Position(0)).unwrap());
    let mut runner = TestRunner::default();
    // Each position is a change of a device, and is the version that it has then.
    let (mut feed, mut expected) = (Vec::new(), HashMap::new());
    for kill in 0..KILLS {
        let mut generation = hands.shelf.take().unwrap().unwrap();
        // What was lost comes again with the first commit.
        let mut at = usize::try_from(generation.position().0).unwrap();
        for (devices, is_saved) in life().new_tree(&mut runner).unwrap().current() {
            for device in devices {
                feed.push(device);
                expected.insert(name(device), feed.len() as u64);
            }
            let twins = (at..feed.len()).map(|change| twin(feed[change], change + 1));
            generation.write(twins.collect::<Vec<_>>()).unwrap();
            at = feed.len();
            generation.commit(Position(at as u64)).unwrap();
            if is_saved {
                generation.save().unwrap();
            }
            let view = generation.view(Position(at as u64));
            let found = range::read(&view, &Range { after: None, last: None }).unwrap();
            assert!(found == expected, "after {kill} kills: {:?}", differing(&found, &expected));
        }
    }
}

#[test]
fn a_file_that_is_removed_and_written_again_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let name = Path::new("1f.7.del");
    let write = |directory: &Deferred, text: &str| {
        let mut file = directory.open_write(name).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.terminate().unwrap();
        directory.atomic_write(Path::new("meta.json"), text.as_bytes()).unwrap();
    };
    let killed = Deferred::open(dir.path()).unwrap();
    write(&killed, "killed");
    killed.save().unwrap();
    drop(killed);
    let directory = Deferred::open(dir.path()).unwrap();
    directory.delete(name).unwrap();
    write(&directory, "again");
    directory.save().unwrap();
    assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "again");
}

fn name(device: usize) -> DeviceKey {
    key(&format!("d{device:03}"))
}

fn twin(device: usize, version: usize) -> (DeviceKey, Option<Arc<Twin>>) {
    let key = name(device);
    let twin = Twin { version: version as u64, ..Twin::new(key.device.clone()) };
    (key, Some(twin.into()))
}

/// What each device has that isn't as expected, and what it should have.
fn differing<'a>(
    found: &HashMap<DeviceKey, u64>,
    expected: &'a HashMap<DeviceKey, u64>,
) -> Vec<(&'a str, Option<u64>, u64)> {
    let wrong = expected.iter().filter(|(key, version)| found.get(*key) != Some(*version));
    wrong.map(|(key, version)| (key.device.as_str(), found.get(key).copied(), *version)).collect()
}

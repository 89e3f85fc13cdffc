//! The table of normative statements is complete, and so is the table of the README: every test that they name exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Sections and how many numbered statements they have, as in appendix B of 3.1.1; a section without a gap.
const VERSION_3: &[(&str, u32)] = &[
    ("1.5.3", 3),
    ("2.2.2", 2),
    ("2.3.1", 7),
    ("3.1.0", 2),
    ("3.1.2", 24),
    ("3.1.3", 11),
    ("3.1.4", 5),
    ("3.2.0", 1),
    ("3.2.2", 6),
    ("3.3.1", 12),
    ("3.3.2", 3),
    ("3.3.4", 1),
    ("3.3.5", 2),
    ("3.6.1", 1),
    ("3.8.1", 1),
    ("3.8.3", 4),
    ("3.8.4", 6),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.12.4", 1),
    ("3.14.1", 1),
    ("3.14.4", 3),
    ("4.1.0", 2),
    ("4.3.1", 1),
    ("4.3.2", 2),
    ("4.3.3", 2),
    ("4.4.0", 1),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.1", 3),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.0", 2),
    ("6.0.0", 4),
    ("7.0.0", 2),
    ("7.1.1", 1),
    ("7.1.2", 1),
];

/// The same of version 5, where 2.2.1 begins with 2.
const VERSION_5: &[(&str, u32)] = &[
    ("1.5.4", 3),
    ("1.5.5", 1),
    ("1.5.7", 1),
    ("2.1.3", 1),
    ("2.2.1", 6),
    ("2.2.2", 1),
    ("3.1.0", 2),
    ("3.1.2", 30),
    ("3.1.3", 12),
    ("3.1.4", 6),
    ("3.2.0", 2),
    ("3.2.2", 22),
    ("3.3.1", 13),
    ("3.3.2", 20),
    ("3.3.4", 10),
    ("3.4.2", 3),
    ("3.5.2", 3),
    ("3.6.1", 1),
    ("3.6.2", 3),
    ("3.7.2", 3),
    ("3.8.1", 1),
    ("3.8.3", 5),
    ("3.8.4", 8),
    ("3.9.2", 2),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.11.2", 2),
    ("3.11.3", 2),
    ("3.12.4", 1),
    ("3.14.0", 1),
    ("3.14.1", 1),
    ("3.14.2", 4),
    ("3.14.4", 3),
    ("3.15.1", 1),
    ("3.15.2", 3),
    ("4.1.0", 2),
    ("4.2", 1),
    ("4.3.1", 1),
    ("4.3.2", 5),
    ("4.3.3", 13),
    ("4.4.0", 2),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.0", 1),
    ("4.7.1", 2),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.2", 6),
    ("4.9.0", 3),
    ("4.12.0", 7),
    ("4.12.1", 2),
    ("4.13.1", 1),
    ("4.13.2", 1),
    ("6.0.0", 4),
];

/// The numbers of the first column of a table; `-2` stands for the section of the number before it.
fn numbers(table: &str) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| MQTT-")) {
        let cell = row.split('|').nth(1).unwrap();
        let mut section = "";
        for part in cell.split(',').map(str::trim) {
            let number = match part.strip_prefix("MQTT-") {
                Some(whole) => {
                    let (name, number) = whole.rsplit_once('-').unwrap();
                    section = name;
                    number
                }
                None => part.strip_prefix('-').unwrap(),
            };
            *found.entry(format!("{section}-{number}")).or_default() += 1;
        }
    }
    found
}

fn expected(sections: &[(&str, u32)], first: impl Fn(&str) -> u32) -> BTreeMap<String, u32> {
    let numbers = |(section, last): &(&str, u32)| {
        (first(section)..=*last).map(|number| (format!("{section}-{number}"), 1)).collect::<Vec<_>>()
    };
    sections.iter().flat_map(numbers).collect()
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tests that a text names in backticks: `module::test`, with a prefix that says where.
fn names_existing_tests(text: &str) -> usize {
    let names = text.split('`').skip(1).step_by(2).filter(|name| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '/');
        name.contains("::") && name.chars().all(plain)
    });
    let mut count = 0;
    for name in names {
        let (module, test) = name.rsplit_once("::").unwrap();
        let file = match module.split_once('/') {
            Some(("stories", module)) => format!("tests/tests/stories/{module}.rs"),
            Some(("src", module)) => format!("broker/src/{module}.rs"),
            _ => format!("broker/tests/door/{module}.rs"),
        };
        assert!(read(&file).contains(&format!("fn {test}(")), "no such test: {name}");
        count += 1;
    }
    count
}

#[test]
fn every_statement_is_there_once_with_tests_that_exist() {
    let table = read("tests/normative.md");
    let (head, version_5) = table.split_once("\n## MQTT 5\n").unwrap();
    let (_, version_3) = head.split_once("\n## MQTT 3.1.1\n").unwrap();
    assert_eq!(numbers(version_3), expected(VERSION_3, |_| 1));
    assert_eq!(numbers(version_5), expected(VERSION_5, |section| if section == "2.2.1" { 2 } else { 1 }));
    for row in table.lines().filter(|line| line.starts_with("| MQTT-")) {
        let explained = ["Client", "Codec", " no ", "none", "not supported", "there is one"];
        let ok = row.contains("::") || explained.iter().any(|word| row.contains(word));
        assert!(ok || row.contains("it doesn't"), "neither a test nor a reason: {row}");
    }
    assert!(names_existing_tests(&table) > 100);
}

#[test]
fn what_the_readme_says_of_mqtt_and_channels_is_tested() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("What is supported of MQTT").unwrap();
    let (mqtt, rest) = rest.split_once("\nOf the channels").unwrap();
    let (channels, _) = rest.split_once("\n| topic |").unwrap();
    assert!(names_existing_tests(channels) > 4);
    for row in mqtt.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")) {
        assert!(names_existing_tests(row) > 0, "a line without a test: {row}");
    }
}

//! What was measured: printed as a table, written as one flat object of numbers.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// The figures, in the order in which they were measured.
#[derive(Default)]
pub(crate) struct Results(Map<String, Value>);

impl Results {
    /// Adds a figure, and prints it: a bench is watched while it runs.
    pub(crate) fn add(&mut self, name: &str, value: f64, means: &str) {
        println!("{name:<34}{:>14}  {means}", pretty(value));
        self.0.insert(name.to_owned(), json!(rounded(value)));
    }

    /// Writes `target/bench/results.json` beside the profile that this program was built with.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn write(self) -> Result<PathBuf> {
        let own = std::env::current_exe().context("find this program")?;
        let dir = own.ancestors().nth(2).context("a program lies in target/PROFILE")?.join("bench");
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let path = dir.join("results.json");
        let text = serde_json::to_string_pretty(&Value::Object(self.0))? + "\n";
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// The middle one; of an even number the mean of the two in the middle.
///
/// # Errors
/// When there is none.
pub(crate) fn median(mut values: Vec<f64>) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle).context("nothing was measured")?;
    Ok(if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper })
}

/// Four significant digits, as more are noise.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    #[expect(clippy::cast_possible_truncation, reason = "an exponent")]
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn pretty(value: f64) -> String {
    let value = rounded(value);
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_people() {
        assert_eq!(pretty(123_456.0), "123500");
        assert_eq!(pretty(0.123_456), "0.1235");
        assert_eq!(median(vec![3.0, 1.0, 2.0]).ok(), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]).ok(), Some(2.5));
        assert!(median(Vec::new()).is_err());
    }
}

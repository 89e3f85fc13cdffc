//! How bad an alarm is.

use serde::{Deserialize, Serialize};

/// From what is worth knowing to what can't wait, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look some time; what a rule has that says nothing.
    #[default]
    Warning,
    /// Something works less well.
    Minor,
    /// Something doesn't work.
    Major,
    /// It can't wait: nothing holds it back, quiet hours neither.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Warning, Self::Minor, Self::Major, Self::Critical];

    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }

    /// Reads the name back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_in_order_and_read_back() {
        assert!(Severity::ALL.is_sorted());
        assert!(Severity::ALL.into_iter().all(|one| Severity::parse(one.as_str()) == Some(one)));
        assert_eq!(Severity::parse("bad"), None);
    }
}

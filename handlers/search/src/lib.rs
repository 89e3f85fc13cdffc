//! The search index: follows the feed, answers queries.
//!
//! It is derived: PostgreSQL is the truth, and the index can be deleted at any time. It is built anew then,
//! as it is when it is found damaged. It knows no database: a [`Source`] gives it twins and changes.
//!
//! - [`source`]: `Source`, where the index gets its truth from
//! - `property`, `facts`, `entry`: a twin as it is written: names, terms, columns
//! - `schema`: the fields of the index
//! - `late_file`, `directory`: its files: small ones in memory, and saved to the disk every few seconds
//! - `replaced`, `priority`, `merges`, `generation`: one index on disk: opened and checked, written, committed
//! - `filling`: one that is filled for the first time
//! - `shelf`: the directory in which a generation takes the place of another
//! - [`status`], [`search`]: `Search`, the handle: positions, and waiting for one
//! - [`follow`]: changes to commits, at the `pace` that the machine bears; its `course`, and `rebuild`, from nothing
//! - `columns`, `near`, `filter`, `union`, `translate`, `within`: a query of ours to one of tantivy
//! - `postings`, `repeated`, `fields`, `relevance`, `order`, `cursor`: what matches, in order, page by page
//! - `values`, [`statistics`], [`histogram`], `figures`, [`facets`]: what the values of all that matches come to
//! - [`find`]: one question, one pass, one answer
//! - [`terms`], [`spelling`]: what there is to be asked for, and what was perhaps meant
//! - `names`: which properties there are
//! - `range`, [`verify`], [`check`]: index and table compared, and repaired; when asked, and all the time

pub mod source;
mod property;
mod facts;
mod entry;
mod schema;
mod late_file;
mod directory;
mod replaced;
mod priority;
mod merges;
mod generation;
mod filling;
mod shelf;
pub mod status;
pub mod search;
mod pace;
pub mod follow;
mod course;
mod rebuild;
mod columns;
mod near;
mod filter;
mod union;
mod translate;
mod within;
mod postings;
mod repeated;
mod fields;
mod relevance;
mod order;
mod cursor;
mod values;
pub mod statistics;
pub mod histogram;
mod figures;
pub mod facets;
pub mod find;
pub mod terms;
pub mod spelling;
mod names;
mod range;
pub mod verify;
pub mod check;

pub use check::check;
pub use facets::{FacetCounts, FacetValue};
pub use find::{Found, Question};
pub use follow::follow;
pub use histogram::HistogramCounts;
pub use search::{Late, NotFollowing, Search, SearchError, Settings};
pub use source::{Changes, Digest, FeedGone, Page, Source};
pub use spelling::DidYouMean;
pub use statistics::Statistics;
pub use status::{Checked, Progress, Status};
pub use terms::{Kind, KnownField};
pub use verify::Verified;

#[cfg(test)]
mod tests;

//! document
/// A JSON object.
pub type Document = serde_json::Map<String, serde_json::Value>;

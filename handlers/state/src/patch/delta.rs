//! What a device must still be told.

use serde_json::Value;

use crate::Document;

/// What a device must still be told: the part of `desired` that isn't so in `reported`.
///
/// Objects are compared property by property, arrays and everything else as a whole, numbers by value
/// (`1` is `1.0`). What only `reported` has doesn't count.
pub fn delta(desired: &Document, reported: &Document) -> Document {
    desired
        .iter()
        .filter_map(|(name, wanted)| {
            let differs = match (wanted, reported.get(name)) {
                (Value::Object(wanted), Some(Value::Object(found))) => {
                    let inner = delta(wanted, found);
                    (!inner.is_empty()).then_some(Value::Object(inner))
                }
                (wanted, Some(found)) if same(wanted, found) => None,
                (wanted, _) => Some(wanted.clone()),
            };
            Some((name.clone(), differs?))
        })
        .collect()
}

/// Equal, with numbers compared by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn doc(value: Value) -> Document {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn delta_is_what_differs() {
        let desired = doc(json!({"a":1,"b":{"x":1,"y":2},"c":[1,{"n":2}],"d":"on","e":{},"f":{"g":1}}));
        let reported =
            doc(json!({"a":1.0,"b":{"x":1,"y":3,"z":0},"c":[1.0,{"n":2.0}],"more":1,"e":{"k":1},"f":7}));
        assert_eq!(Value::Object(delta(&desired, &reported)), json!({"b":{"y":2},"d":"on","f":{"g":1}}));
        let large = doc(json!({"n":9_007_199_254_740_993_u64}));
        assert!(
            !delta(&large, &doc(json!({"n":9_007_199_254_740_992_u64}))).is_empty(),
            "integers are exact"
        );
    }
}

//! The columns of a list, told from its schema: the same for every answer, whatever is null in it.

use serde_json::Value;

/// Objects inside one another at most; deeper ones are JSON in a cell.
const DEPTH_MAX: usize = 4;

/// One column of CSV.
#[derive(Debug)]
pub(super) struct Column {
    /// The keys on the way to the value, joined by `_`.
    pub(super) name: String,
    pub(super) path: Vec<String>,
}

pub(super) type Columns = Vec<Column>;

/// The lists of an OpenAPI document: path, columns, and whether it takes `limit`.
pub(super) fn lists(document: &Value) -> Vec<(String, Columns, bool)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .filter_map(|(path, operations)| {
            let operation = &operations["get"];
            let content = &operation["responses"]["200"]["content"]["application/json"];
            let properties = properties(document, &content["schema"]);
            let find = |name: &str| properties.iter().find(|(key, _)| *key == name);
            let (_, items) = find("items")?;
            find("next")?;
            let mut columns = Columns::new();
            add_columns(document, &items["items"], &[], &mut columns);
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let is_paged = parameters
                .into_iter()
                .any(|parameter| parameter["name"] == "limit");
            Some((path.clone(), columns, is_paged))
        })
        .collect()
}

/// Adds the values below a schema, in the order of the document.
fn add_columns(document: &Value, schema: &Value, path: &[String], columns: &mut Columns) {
    for (key, schema) in properties(document, schema) {
        let mut path = path.to_vec();
        path.push(key.to_owned());
        if path.len() < DEPTH_MAX && !properties(document, schema).is_empty() {
            add_columns(document, schema, &path, columns);
        } else {
            let name = path.join("_");
            columns.push(Column { name, path });
        }
    }
}

/// The properties of an object, of what it is put together from, or of the object it may be besides null. What it names
/// itself comes before what it shares with others.
fn properties<'a>(document: &'a Value, schema: &'a Value) -> Vec<(&'a str, &'a Value)> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return target.map_or(Vec::new(), |target| properties(document, target));
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let (shared, own): (Vec<_>, Vec<_>) =
            parts.iter().partition(|part| part["$ref"].is_string());
        let parts = own.into_iter().chain(shared);
        return parts.flat_map(|part| properties(document, part)).collect();
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let mut choices = choices.iter().filter(|choice| choice["type"] != "null");
        return match (choices.next(), choices.next()) {
            (Some(choice), None) => properties(document, choice),
            _ => Vec::new(),
        };
    }
    let named = schema["properties"].as_object().into_iter().flatten();
    named.map(|(key, schema)| (key.as_str(), schema)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all() -> Vec<(String, Columns, bool)> {
        lists(&serde_json::to_value(crate::openapi()).unwrap())
    }

    #[test]
    fn every_list_has_columns_of_different_names() {
        let lists = all();
        assert!(lists.len() >= 6, "{lists:?}");
        for (path, columns, _) in lists {
            let names: HashSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            assert_eq!(names.len(), columns.len(), "{path}: {columns:?}");
            assert!(columns.len() > 3, "{path}");
        }
    }

    #[test]
    fn objects_are_flattened_even_where_they_may_be_null() {
        let names = |wanted: &str| -> Vec<String> {
            let list = all().into_iter().find(|(path, ..)| path == wanted);
            let (_, columns, _) = list.unwrap();
            columns.into_iter().map(|column| column.name).collect()
        };
        let domains = names("/api/v1/domains");
        assert_eq!(domains[0], "domain");
        for name in ["message_count", "disposition_reject", "policy_published_p"] {
            assert!(domains.contains(&name.to_owned()), "{name}: {domains:?}");
        }
        assert!(names("/api/v1/mailboxes").contains(&"last_error_code".to_owned()));
        assert!(names("/api/v1/reports").contains(&"warnings".to_owned()));
    }
}

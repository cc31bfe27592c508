//! What the OpenAPI document says about exports.

use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, OpenApi, RefOr, Required, Type,
    path::{ParameterBuilder, ParameterIn},
};

use super::{columns, format::Format};

/// Adds the other forms to every list of the document.
pub(crate) fn describe(document: &mut OpenApi) {
    let json = serde_json::to_value(&*document).expect("the document has strings for keys");
    for (path, ..) in columns::lists(&json) {
        let operation = document.paths.paths.get_mut(&path);
        let Some(operation) = operation.and_then(|item| item.get.as_mut()) else {
            continue;
        };
        let words = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["json", "csv", "ndjson"]));
        let format = ParameterBuilder::new()
            .name("format")
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(
                "The form of the answer; it goes before the header `Accept`. As `csv` and `ndjson`, the whole list from \
                 the cursor on, unless `limit` is given.",
            ))
            .schema(Some(words))
            .build();
        operation
            .parameters
            .get_or_insert_default()
            .push(format.into());
        let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else {
            continue;
        };
        for format in [Format::Csv, Format::Ndjson] {
            let text = ObjectBuilder::new().schema_type(Type::String).build();
            let content = ContentBuilder::new().schema(Some(text)).build();
            let media_type = format.media_type().split(';').next().unwrap_or_default();
            answer.content.insert(media_type.to_owned(), content.into());
        }
    }
}

//! Renders the OpenAPI document as one page, for people. It knows as much of OpenAPI as our document uses.

use std::fmt::Write as _;

use serde_json::{Map, Value};

const METHODS: [&str; 3] = ["get", "post", "delete"];

/// The page.
pub(super) fn render(document: &Value) -> String {
    let page = Page { document };
    let info = &document["info"];
    let (title, version) = (text(&info["title"]), text(&info["version"]));
    let tags: Vec<&Value> = list(&document["tags"]).collect();
    let contents: String = tags.iter().map(|tag| page.contents(tag)).collect();
    let sections: String = tags.iter().map(|tag| page.section(tag)).collect();
    let schemas: String = map(&document["components"]["schemas"])
        .map(|(name, schema)| page.schema(name, schema))
        .collect();
    format!(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} {version}: API</title>
<link rel="stylesheet" href="/docs.css">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<nav aria-label="Contents">
<p class="title">{title} <small>{version}</small></p>
{contents}<p><a href="#schemas">Schemas</a></p>
<p><a href="/api/v1/openapi.json">openapi.json</a></p>
<p><a href="/">The web page</a></p>
</nav>
<main id="main" tabindex="-1">
<h1>The API of {title}</h1>
{introduction}{sections}<section id="schemas">
<h2>Schemas</h2>
{schemas}</section>
</main>
</body>
</html>
"##,
        introduction = prose(&info["description"]),
    )
}

struct Page<'a> {
    document: &'a Value,
}

impl Page<'_> {
    /// The operations of a tag: method, path and operation.
    fn operations(&self, tag: &Value) -> impl Iterator<Item = (&'static str, &String, &Value)> {
        let name = tag["name"].clone();
        map(&self.document["paths"])
            .flat_map(|(path, item)| METHODS.map(|method| (method, path, &item[method])))
            .filter(move |(_, _, operation)| operation["tags"][0] == name)
    }

    fn contents(&self, tag: &Value) -> String {
        let mut html = format!("<p>{}</p>\n<ul>\n", text(&tag["name"]));
        for (method, path, operation) in self.operations(tag) {
            let (id, summary) = (anchor(method, path), text(&operation["summary"]));
            _ = writeln!(html, "<li><a href=\"#{id}\">{summary}</a></li>");
        }
        html + "</ul>\n"
    }

    fn section(&self, tag: &Value) -> String {
        let mut html = format!(
            "<section>\n<h2>{}</h2>\n{}",
            text(&tag["name"]),
            prose(&tag["description"])
        );
        for (method, path, operation) in self.operations(tag) {
            html += &self.operation(method, path, operation);
        }
        html + "</section>\n"
    }

    fn operation(&self, method: &str, path: &str, operation: &Value) -> String {
        let mut html = format!(
            "<article id=\"{id}\">\n<h3>{summary}</h3>\n<p class=\"route\"><b class=\"{method}\">{upper}</b> <code>{path}</code></p>\n{description}",
            id = anchor(method, path),
            summary = text(&operation["summary"]),
            upper = method.to_uppercase(),
            path = escape(path),
            description = prose(&operation["description"]),
        );
        let parameters: String = list(&operation["parameters"])
            .map(|parameter| self.parameter(parameter))
            .collect();
        html += &table(["Parameter", "Type", "Meaning"], &parameters);
        if let Some(body) = operation.get("requestBody") {
            let types: Vec<String> = map(&body["content"])
                .map(|(mime, _)| format!("<code>{}</code>", escape(mime)))
                .collect();
            let row = row([&types.join(", "), &phrase(&body["description"])]);
            html += &table(["Body", "Meaning"], &row);
        }
        let responses: String = map(&operation["responses"])
            .map(|(status, response)| self.response(status, response))
            .collect();
        html += &table(["Status", "Meaning", "Body"], &responses);
        let answers = map(&operation["responses"])
            .find_map(|(_, response)| response["content"].get("application/json"));
        if let Some(example) = answers.and_then(|content| self.example(&content["schema"])) {
            let json = serde_json::to_string_pretty(&example).expect("keys are strings");
            _ = writeln!(
                html,
                "<details>\n<summary>Example answer</summary>\n<pre tabindex=\"0\">{}</pre>\n</details>",
                escape(&json)
            );
        }
        html + "</article>\n"
    }

    fn parameter(&self, parameter: &Value) -> String {
        let mut kind = self.kind(&parameter["schema"]);
        if parameter["required"] == true {
            kind += ", required";
        }
        row([
            &format!("<code>{}</code>", text(&parameter["name"])),
            &kind,
            &phrase(&parameter["description"]),
        ])
    }

    fn response(&self, status: &str, response: &Value) -> String {
        let status = if status == "default" {
            "any other"
        } else {
            status
        };
        let body = map(&response["content"])
            .next()
            .map_or(String::new(), |(mime, content)| match mime.as_str() {
                "application/json" | "application/problem+json" => self.kind(&content["schema"]),
                _ => format!("<code>{}</code>", escape(mime)),
            });
        row([&escape(status), &phrase(&response["description"]), &body])
    }

    fn schema(&self, name: &str, schema: &Value) -> String {
        let mut fields = String::new();
        for (field, schema) in self.fields(schema) {
            let schema_of_reference = self.follow(schema);
            let description = schema
                .get("description")
                .unwrap_or(&schema_of_reference["description"]);
            fields += &row([
                &format!("<code>{}</code>", escape(field)),
                &self.kind(schema),
                &phrase(description),
            ]);
        }
        let body = if fields.is_empty() {
            format!("<p>{}</p>\n", self.kind_here(schema))
        } else {
            table(["Field", "Type", "Meaning"], &fields)
        };
        let (id, name) = (schema_anchor(name), escape(name));
        format!(
            "<article id=\"{id}\">\n<h3>{name}</h3>\n{}{body}</article>\n",
            prose(&schema["description"])
        )
    }

    /// The schema that a reference stands for; any other schema stands for itself.
    fn follow<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match reference(schema) {
            Some(name) => &self.document["components"]["schemas"][name],
            None => schema,
        }
    }

    /// All fields of an object, those of the objects within it that are written flat included.
    fn fields<'a>(&'a self, schema: &'a Value) -> Vec<(&'a String, &'a Value)> {
        let schema = self.follow(schema);
        let flat = list(&schema["allOf"]).flat_map(|part| self.fields(part));
        flat.chain(map(&schema["properties"])).collect()
    }

    /// The type in words, with a link where it has a name.
    fn kind(&self, schema: &Value) -> String {
        match reference(schema) {
            Some(name) => format!("<a href=\"#{}\">{}</a>", schema_anchor(name), escape(name)),
            None => self.kind_here(schema),
        }
    }

    fn kind_here(&self, schema: &Value) -> String {
        if let Some(parts) = schema.get("oneOf") {
            let kinds: Vec<String> = list(parts).map(|part| self.kind(part)).collect();
            return kinds.join(" or ");
        }
        if let Some(words) = schema.get("enum") {
            let words: Vec<String> = list(words)
                .map(|word| format!("<code>{}</code>", text(word)))
                .collect();
            return words.join(" or ");
        }
        if schema["type"] == "array" {
            return format!("list of {}", self.kind(&schema["items"]));
        }
        let mut kind = match &schema["type"] {
            Value::String(kind) => kind.clone(),
            Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
            _ => "any".into(),
        };
        for (key, before) in [
            ("format", ", "),
            ("minimum", ", from "),
            ("maximum", " to "),
            ("default", ", default "),
        ] {
            match &schema[key] {
                Value::Null => {}
                Value::String(word) => kind = kind + before + &escape(word),
                value => _ = write!(kind, "{before}{value}"),
            }
        }
        kind
    }

    /// An example made of those of the fields.
    fn example(&self, schema: &Value) -> Option<Value> {
        let schema = self.follow(schema);
        if let Some(example) = schema.get("example") {
            return Some(example.clone());
        }
        if let Some(part) = list(&schema["oneOf"]).find(|part| part["type"] != "null") {
            return self.example(part);
        }
        if let Some(word) = schema["enum"].get(0) {
            return Some(word.clone());
        }
        let fields = self.fields(schema);
        if !fields.is_empty() {
            let fields = fields.into_iter();
            let object: Map<_, _> = fields
                .filter_map(|(name, field)| Some((name.clone(), self.example(field)?)))
                .collect();
            return Some(object.into());
        }
        if schema["type"] == "array" {
            return Some(self.example(&schema["items"]).into_iter().collect());
        }
        Some(match schema["format"].as_str()? {
            "uuid" => "0190163d-8694-739b-aea5-966c26f8ad91".into(),
            "date-time" => "2024-05-31T04:12:00Z".into(),
            _ => return None,
        })
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"]
        .as_str()?
        .strip_prefix("#/components/schemas/")
}

fn anchor(method: &str, path: &str) -> String {
    format!(
        "{method}{}",
        path.replace(|char: char| !char.is_ascii_alphanumeric(), "-")
    )
}

fn schema_anchor(name: &str) -> String {
    format!("schema-{}", escape(name))
}

fn table<const N: usize>(heads: [&str; N], rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heads = heads.map(|head| format!("<th scope=\"col\">{head}</th>"));
    let heads = heads.concat();
    format!("<table>\n<thead>\n<tr>{heads}</tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n")
}

fn row<const N: usize>(cells: [&str; N]) -> String {
    let cells = cells.map(|cell| format!("<td>{cell}</td>")).concat();
    format!("<tr>{cells}</tr>\n")
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

/// Text with `code` in it.
fn phrase(value: &Value) -> String {
    let escaped = text(value);
    let mut parts = escaped.split('`');
    let mut html = parts.next().unwrap_or_default().to_owned();
    while let (Some(code), after) = (parts.next(), parts.next()) {
        _ = write!(html, "<code>{code}</code>{}", after.unwrap_or_default());
    }
    html
}

/// Paragraphs, with `code` in them.
fn prose(value: &Value) -> String {
    let html = phrase(value);
    html.split("\n\n")
        .filter(|paragraph| !paragraph.trim().is_empty())
        .map(|paragraph| format!("<p>{paragraph}</p>\n"))
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

//! Forms (表单): JSON Schema of a task's answers, and what is wrong with answers in both languages.

use jsonschema::error::ValidationErrorKind;
use model::{Id, Text};
use platform::http::FieldError;
use serde_json::Value;

/// A compiled form.
pub(crate) struct Form {
    pub(crate) schema: Value,
    validator: jsonschema::Validator,
}

impl Form {
    /// Compiles a schema (draft 2020-12). References to other documents are not followed.
    pub(crate) fn compile(schema: Value) -> Result<Self, String> {
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err("a form's schema must have \"type\": \"object\" at its top".into());
        }
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(&schema)
            .map_err(|e| format!("is not a JSON Schema that compiles: {e}"))?;
        Ok(Self { schema, validator })
    }

    /// What is wrong with the answers; nothing when they are right.
    pub(crate) fn check(&self, values: &Value) -> Vec<FieldError> {
        self.validator
            .iter_errors(values)
            .take(50)
            .map(|e| {
                let mut path = format!("/values{}", e.instance_path().as_str());
                if let ValidationErrorKind::Required { property } = e.kind() {
                    path.push('/');
                    path.push_str(
                        &property.as_str().unwrap_or_default().replace('~', "~0").replace('/', "~1"),
                    );
                }
                FieldError { path, message: message(e.kind()) }
            })
            .collect()
    }

    /// The files that the answers name, with the pointer of each.
    pub(crate) fn files(&self, values: &Value) -> Vec<(String, Id)> {
        let mut files = Vec::new();
        let Some(properties) = self.schema.get("properties").and_then(Value::as_object) else { return files };
        for (name, property) in properties {
            let format = property.pointer("/items/format").or_else(|| property.get("format"));
            if format.and_then(Value::as_str) != Some("file-id") {
                continue;
            }
            let given: &[Value] = match values.get(name) {
                Some(Value::Array(items)) => items,
                Some(one) => std::slice::from_ref(one),
                None => continue,
            };
            let pointer = format!("/values/{}", name.replace('~', "~0").replace('/', "~1"));
            // What is no UUID is named by the nil one, which no file has.
            files.extend(given.iter().map(|v| {
                (pointer.clone(), v.as_str().and_then(|t| Id::parse_str(t).ok()).unwrap_or_default())
            }));
        }
        files
    }
}

fn message(kind: &ValidationErrorKind) -> Text {
    match kind {
        ValidationErrorKind::Required { .. } => Text::new("请填写此项", "this is needed"),
        ValidationErrorKind::Enum { options } => {
            Text::new(format!("只能是 {options} 之一"), format!("must be one of {options}"))
        }
        ValidationErrorKind::MaxLength { limit } => {
            Text::new(format!("最多 {limit} 个字"), format!("at most {limit} characters"))
        }
        ValidationErrorKind::MinLength { limit } => {
            Text::new(format!("至少 {limit} 个字"), format!("at least {limit} characters"))
        }
        ValidationErrorKind::MinItems { limit } => {
            Text::new(format!("至少 {limit} 项"), format!("at least {limit} of them"))
        }
        ValidationErrorKind::MaxItems { limit } => {
            Text::new(format!("最多 {limit} 项"), format!("at most {limit} of them"))
        }
        ValidationErrorKind::Minimum { limit } => {
            Text::new(format!("不能小于 {limit}"), format!("must not be less than {limit}"))
        }
        ValidationErrorKind::Maximum { limit } => {
            Text::new(format!("不能大于 {limit}"), format!("must not be more than {limit}"))
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let names = unexpected.join(", ");
            Text::new(format!("表单没有这些项：{names}"), format!("the form has no {names}"))
        }
        ValidationErrorKind::Type { .. } => Text::new("类型不对", "is not of the right type"),
        ValidationErrorKind::Pattern { .. } | ValidationErrorKind::Format { .. } => {
            Text::new("格式不对", "does not have the right form")
        }
        other => {
            let keyword = other.keyword();
            Text::new(format!("不符合要求（{keyword}）"), format!("does not meet the form's {keyword}"))
        }
    }
}

/// Answers without a form: an object, and nothing in it but a short outcome.
pub(crate) fn check_without_form(values: &Value) -> Vec<FieldError> {
    let right = values
        .as_object()
        .is_some_and(|o| o.iter().all(|(k, v)| k == "outcome" && v.as_str().is_some_and(|t| t.len() <= 64)));
    if right {
        return Vec::new();
    }
    let message =
        Text::new("此任务没有表单，只能填写 outcome", "this task has no form; only outcome may be given");
    vec![FieldError { path: "/values".into(), message }]
}

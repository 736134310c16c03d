//! The policy format as JSON Schema, for editors. It says in advance what reading the file would say.

use serde_json::{Map, Value, json};

use super::rules::{Rules, Use};

/// The schema of policy files; `policies/policy.schema.json` is this value.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mask-agent policy",
        "type": "object",
        "additionalProperties": false,
        "required": ["version", "name"],
        "properties": {
            "version": { "const": 1, "description": "Version of this format." },
            "name": { "type": "string", "description": "What the policy is called in the audit trail." },
            "extends": {
                "enum": ["zero-config", null],
                "description": "Takes over what `zero-config` classifies, behind the file's own entries, and its masks."
            },
            "mode": {
                "enum": ["enforce", "observe"],
                "default": "enforce",
                "description": "`enforce` masks and refuses; `observe` only records."
            },
            "ports": {
                "type": "array",
                "items": { "type": "integer", "minimum": 0, "maximum": 65_535 },
                "default": [5432],
                "description": "Ports databases listen on, at every address."
            },
            "targets": {
                "type": "array",
                "description": "Ports databases listen on at some addresses only.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["port"],
                    "properties": {
                        "port": { "type": "integer", "minimum": 1, "maximum": 65_535 },
                        "prefix": {
                            "type": "string",
                            "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$",
                            "description": "An address or a prefix, as in `10.1.0.0/16`."
                        }
                    }
                }
            },
            "subjects": {
                "type": "object",
                "additionalProperties": false,
                "description": "Who is protected; every process by default.",
                "properties": {
                    "include": subjects("Only these, instead of every process."),
                    "exclude": subjects("Not these, even if included."),
                    "sniff": subjects(
                        "Of these, connections to every port are looked into for databases; they are protected besides."
                    )
                }
            },
            "classification": classification(),
            "masks": {
                "type": "object",
                "additionalProperties": mask(),
                "description": "How each tag is masked; `default` is for tags without an entry."
            },
            "rules": rules(),
            "statements": statements(),
            "functions": functions(),
            "limits": limits(),
            "notices": {
                "type": "boolean",
                "default": false,
                "description": "Whether a client is told, once for each shape of a statement, which columns are masked."
            }
        }
    })
}

fn rules() -> Value {
    let shown = |description: &str| json!({ "enum": ["redact", "refuse", null], "default": "redact", "description": description });
    let usages = Rules::default().uses.map(|(usage, default)| {
        let default = match default {
            Use::Allow => "allow",
            Use::Budget => "budget",
            Use::Refuse => "refuse",
        };
        (usage.name().to_owned(), json!({ "enum": ["allow", "budget", "refuse"], "default": default }))
    });
    json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "description": "What may be done with masked columns besides showing them.",
        "properties": {
            "derived": shown("Values made of masked columns."),
            "opaque": shown("What comes out of functions that cannot be read."),
            "predicates": {
                "type": "object",
                "additionalProperties": false,
                "description": "What each use that does not show a masked column is met with.",
                "properties": Map::from_iter(usages)
            },
            "writes": {
                "enum": ["taint", "refuse", null],
                "default": "taint",
                "description": "Masked values put into columns that are shown: `taint` masks these from then on."
            }
        }
    })
}

fn statements() -> Value {
    let admission = |description: &str| json!({ "enum": ["allow", "refuse", null], "default": "allow", "description": description });
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "Which kinds of statements are sent.",
        "properties": {
            "definitions": admission("CREATE, ALTER, DROP and their like."),
            "large_objects": admission("Reading large objects, and the function call message."),
            "plans": admission("EXPLAIN of a statement that compares, sorts or groups masked columns."),
            "procedures": admission("DO and CALL."),
            "roles": admission("SET ROLE and SET SESSION AUTHORIZATION.")
        }
    })
}

fn functions() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "How far code of users in the database is believed.",
        "properties": {
            "trusted": {
                "type": "array",
                "description": "Functions that return nothing but what is made of their arguments, and write nothing.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name", "sha256"],
                    "properties": {
                        "name": {
                            "type": "string",
                            "pattern": "^[^.*]+\\.[^*]+$",
                            "description": "`schema.function`, as the catalog writes them."
                        },
                        "sha256": {
                            "type": "string",
                            "pattern": "^[0-9a-f]{64}$",
                            "description": "What `mask-agent catalog` prints for it."
                        }
                    }
                }
            }
        }
    })
}

fn limits() -> Value {
    let Rules { budget, window, .. } = Rules::default();
    let count = |default: u64, description: &str| {
        json!({
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": u32::MAX,
            "default": default,
            "description": description
        })
    };
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "How much is too much.",
        "properties": {
            "predicates": count(budget.into(), "Different budgeted uses of one masked column in one window."),
            "window_minutes": count(window.as_secs() / 60, "Length of the window; 0 is read as 1.")
        }
    })
}

fn subjects(description: &str) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "description": description,
        "properties": {
            "cgroups": {
                "type": "array",
                "items": { "type": "string", "pattern": "^(/[^/]+){1,16}$" },
                "description": "Cgroups with all below them, as `/proc/PID/cgroup` shows them."
            },
            "uids": {
                "type": "array",
                "items": { "type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32 },
                "description": "Real users, by number."
            }
        }
    })
}

fn classification() -> Value {
    let name = json!({
        "type": "string",
        "pattern": "^[^?\\[\\]{}]+$",
        "description": "Column name without regard to case; `*` stands for any run of characters."
    });
    let table = json!({
        "type": "string",
        "pattern": "^[^?\\[.]+\\.[^?\\[]+$",
        "description": "`schema.table` without regard to case; `*` stands for any run of characters."
    });
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "Which columns are personal.",
        "properties": {
            "columns": {
                "type": "array",
                "description": "Columns by name; the first entry that matches gives the tag.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name", "tag"],
                    "properties": {
                        "name": { "anyOf": [name, { "type": "array", "items": name }] },
                        "table": table,
                        "tag": {
                            "type": "string",
                            "pattern": "^[a-z0-9-]+$",
                            "not": { "const": "default" },
                            "description": "What is personal about it."
                        }
                    }
                }
            },
            "allow": {
                "type": "array",
                "description": "Tables of which only the listed columns are shown.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["table", "columns"],
                    "properties": { "table": table, "columns": { "type": "array", "items": name } }
                }
            }
        }
    })
}

fn mask() -> Value {
    let count = json!({ "type": "integer", "minimum": 0, "maximum": 65_535, "default": 0 });
    let one = |key: &str, properties: Value, required: Value| {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": [key],
            "properties": { key: {
                "type": "object",
                "additionalProperties": false,
                "required": required,
                "properties": properties
            } }
        })
    };
    let prefix = |bits: u8, default: u8| json!({ "type": "integer", "minimum": 0, "maximum": bits, "default": default });
    let generalise = json!({
        "date": { "enum": ["month", "year"], "default": "year" },
        "bucket": { "type": "integer", "minimum": 2, "default": 10 },
        "prefix4": prefix(31, 24),
        "prefix6": prefix(127, 64)
    });
    let token = json!({
        "scope": { "type": "string", "minLength": 1, "maxLength": 255 },
        "reversible": { "type": "boolean", "default": false }
    });
    json!({
        "anyOf": [
            { "enum": ["generalise", "hash", "null", "pattern", "redact", "token", null] },
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["fpe"],
                "properties": { "fpe": { "enum": ["card", "digits", "email", "iban", "phone"] } }
            },
            one("generalise", generalise, json!([])),
            one("partial", json!({ "first": count, "last": count }), json!([])),
            one("redact", json!({ "placeholder": { "type": "string" } }), json!(["placeholder"])),
            one("token", token, json!([]))
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_this_schema() {
        let shipped = include_str!("../../../../policies/policy.schema.json");
        let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        assert!(shipped == text, "policies/policy.schema.json should be:\n{text}");
    }
}

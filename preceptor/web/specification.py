"""The API's own OpenAPI specification, made from what its requests are checked with (`web/asked.py`)."""

from importlib.metadata import version
from typing import Any

from preceptor.data.records import ROLES
from preceptor.generate.guard import ACTIONS
from preceptor.generate.request import RANGES, Sampling
from preceptor.recipe.options import describe_options
from preceptor.web.asked import (
    CHAT,
    COMPLETION,
    EMBEDDINGS,
    LARGE,
    MOST_TEXTS,
    SAMPLING,
    SCORE,
    kind_of_option,
)
from preceptor.web.judging import FEEDBACK, THUMBS
from preceptor.web.pictures import HELD

Schema = dict[str, Any]
NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
LIMITS = {"0 or more": {"minimum": 0}, "1 or more": {"minimum": 1}, "above 0": {"exclusiveMinimum": 0},
          "above 0, at most 1": {"exclusiveMinimum": 0, "maximum": 1}, "from 0 to 1": {"minimum": 0, "maximum": 1},
          "0 or more, below 1": {"minimum": 0, "exclusiveMaximum": 1},
          "from -10 to 10": {"minimum": -10, "maximum": 10}}
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
PART = {"type": "object", "properties": {"type": {"const": "text"}, "text": TEXT}, "required": ["type", "text"],
        "additionalProperties": False}
URL = {"type": "string", "pattern": f"^{HELD.pattern}[A-Za-z0-9+/]*={{0,2}}$",
       "description": "PNG, JPEG, WebP or GIF as a data: URL; nothing is fetched"}
PICTURE = {"type": "object", "required": ["type", "image_url"], "additionalProperties": False, "properties": {
    "type": {"const": "image_url"}, "image_url": {
        "type": "object", "required": ["url"], "additionalProperties": False,
        "properties": {"url": URL, "detail": {"const": "auto"}}}}}
PLACE = {"type": "object", "properties": {"id": TEXT, "choice": {"type": "integer"}}, "required": ["id"],
         "additionalProperties": False}
GUARD = {"anyOf": [{"type": "boolean"}, {
    "type": "object", "additionalProperties": False, "properties": {
        "actions": {"type": "array", "items": {"enum": [action for action in ACTIONS if action != "queue"]},
                    "minItems": 1},
        "recovery": {"type": "object", "properties": {}, "additionalProperties": True}}}, {"type": "null"}]}
SPECIAL = {"guard": GUARD, "prompt": {"anyOf": [{"type": "string", "minLength": 1}, TEXTS]},
           "responses": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": MOST_TEXTS},
           "encoding_format": {"enum": ["float", "base64", None]}, "thumb": {"enum": [*THUMBS, None]},
           "ranking": {"anyOf": [{"type": "array", "items": {"type": "array", "items": PLACE}}, {"type": "null"}]},
           "stream_options": {"anyOf": [{"type": "object", "properties": {"include_usage": {"type": "boolean"}},
                                         "additionalProperties": False}, {"type": "null"}]},
           "stop": {"anyOf": [{"type": "string", "minLength": 1}, {**TEXTS, "minItems": 0}, {"type": "null"}]},
           "early_stopping": {"enum": [True, False, "never", None]}, "n": {"type": ["integer", "null"], "minimum": 1}}
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {
    "type": "object", "required": ["message", "type"], "properties": {"message": TEXT, "type": TEXT}}}}
ERRORS = {"400": "the request cannot be honoured, and why", "401": "the API key is missing or wrong",
          "403": "a page of another site asks, and there are no keys",
          "404": "there is no such model or answer", "408": "the request did not arrive in time",
          "413": "the request is too large", "429": "too many requests; try again later", "500": "the server failed",
          "504": "the call took too long"}
USAGE = {"type": "object", "required": ["prompt_tokens", "total_tokens"]}


def specification(writers: list[str], scorers: list[str], encoders: list[str], keys: bool,
                  sees: bool = False) -> Schema:
    """The document at /openapi.json, of a server with models of these names, which asks for keys or does not, and of
    which one `sees` pictures or none does."""
    sampling = {name: kind_of_option(default) for name, default in SAMPLING.items()}
    paths = {
        "/v1/chat/completions": _post("Answer a conversation", {**sampling, **CHAT}, ["model", "messages"],
                                      _answers("message", ["role", "content"]), writers, streams=True, sees=sees),
        "/v1/completions": _post("Go on with a text", {**sampling, **COMPLETION}, ["model", "prompt"],
                                 _answers("text"), writers, streams=True),
        "/v1/embeddings": _post("Texts as vectors", EMBEDDINGS, ["model", "input"],
                                _listed("embedding", {"type": ["array", "string"]}), encoders, sees=sees),
        "/v1/score": _post("Score answers", SCORE, ["model", "messages", "responses"],
                           _listed("score", {"type": "number"}), scorers),
        "/v1/feedback": _post("Say what you think of answers", FEEDBACK, [], {
            "type": "object", "required": ["object", "comparison"],
            "properties": {"object": {"const": "feedback"}, "comparison": {"type": ["string", "null"]}}}, []),
        "/v1/models": {"get": _said("The models", {"type": "object", "required": ["object", "data"]},
                                    ["401", "403", "429", "500"])},
        "/health": {"get": {**_said("Whether every model answers", {"type": "object", "required": ["status"]},
                                    ["500"]), "security": []}},
    }
    paths["/health"]["get"]["responses"]["503"] = _body("a model answers no longer", {"type": "object"})
    for method in (method for path in paths.values() for method in path.values()):
        method["responses"].pop("403" if keys else "401", None)
    guarded = {"components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
               "security": [{"key": []}]}
    return {"openapi": "3.1.0", "info": {"title": "Preceptor", "version": version("preceptor")}, "paths": paths,
            **(guarded if keys else {})}


def _post(summary: str, known: dict[str, Any], required: list[str], answer: Schema, models: list[str],
          streams: bool = False, sees: bool = False) -> Schema:
    """An endpoint that takes these fields and no others."""
    meanings = describe_options(Sampling)
    properties = {}
    for name, kinds in known.items():
        field = _messages(sees) if name == "messages" else _inputs(sees) if name == "input" else _field(name, kinds)
        properties[name] = {**field, **({"description": meanings[name][1]} if name in meanings else {})}
        if name in required:  # what must be given cannot be null
            properties[name] = {"enum": models} if name == "model" and models else _needed(properties[name])
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    said = _said(summary, answer, list(ERRORS))
    if streams:
        said["responses"]["200"]["content"]["text/event-stream"] = {"schema": TEXT}
    return {"post": {**said, "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}}


def _messages(sees: bool) -> Schema:
    """Messages of text, and of pictures where one of the models sees."""
    parts = {"type": "array", "items": {"anyOf": [PART, PICTURE]} if sees else PART}
    return {"type": "array", "minItems": 1, "items": {
        "type": "object", "required": ["role", "content"], "additionalProperties": False,
        "properties": {"role": {"enum": list(ROLES)}, "content": {"anyOf": [TEXT, parts]}}}}


def _inputs(sees: bool) -> Schema:
    """Texts to embed, and pictures among them where one of the models sees."""
    items = {"anyOf": [TEXTS["items"], PICTURE]} if sees else TEXTS["items"]
    return {"anyOf": [TEXTS["items"], {**TEXTS, "items": items, "maxItems": MOST_TEXTS}]}


def _field(name: str, kinds: Any) -> Schema:
    if name in SPECIAL:
        return SPECIAL[name]
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    found: Schema = {"type": [NAMES[kind] for kind in kinds] + ["null"]}
    if list in kinds:
        found["items"] = {"type": "string", "minLength": 1}
    if {int, float} & set(kinds) and name != "seed":
        found |= {"exclusiveMaximum": LARGE, "exclusiveMinimum": -LARGE}
    for limit, names in RANGES.items():
        if name in names:
            found |= LIMITS[limit]
            if "minimum" in LIMITS[limit]:
                found.pop("exclusiveMinimum", None)
    return found


def _needed(schema: Schema) -> Schema:
    """A schema without null."""
    if isinstance(schema.get("type"), list):
        return {**schema, "type": [kind for kind in schema["type"] if kind != "null"]}
    return schema


def _said(summary: str, answer: Schema, errors: list[str]) -> Schema:
    return {"summary": summary, "responses": {
        "200": _body("done", answer), **{status: _body(ERRORS[status], ERROR) for status in errors}}}


def _body(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _answers(field: str, within: list[str] | None = None) -> Schema:
    """What a call for answers gives."""
    text = {"type": "object", "required": within} if within else TEXT
    choice = {"type": "object", "required": ["index", field, "finish_reason"], "properties": {
        field: text, "index": {"type": "integer"}, "finish_reason": {"enum": ["stop", "length"]}}}
    return {"type": "object", "required": ["id", "object", "created", "model", "choices", "usage"],
            "properties": {"choices": {"type": "array", "items": choice}, "usage": USAGE}}


def _listed(field: str, schema: Schema) -> Schema:
    one = {"type": "object", "required": ["index", field], "properties": {field: schema}}
    return {"type": "object", "required": ["object", "model", "data"],
            "properties": {"data": {"type": "array", "items": one}}}

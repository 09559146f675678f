// Prompts or texts from a file or a pipe: lines of text, or JSON lines.
#pragma once

#include <istream>
#include <string>

#include "app/list_line.h"
#include "engine/work.h"

namespace demask {

// A file that ends in .txt has one start_text a line, an empty line too; the line's number is its id. One that ends in
// .jsonl has one object a line:
//
//   {"id": "a1", "start_text": "To be", "num_samples": 2, "seed": 7}
//
// with id (a text or a whole number, no two the same; a Prompt has its JSON text, "\"a1\""), one of start_text,
// infill_text, infill (see infill_reader.h) and tokens (a list of ids), and optionally pattern, num_samples, seed,
// max_new_tokens and sequence_length; blank lines count for nothing. "-" is standard input, which is JSON lines where
// its first byte other than blanks is '{' (of 64 KiB), else text. Either is UTF-8, perhaps with a byte order mark.
//
// A line that is not of its form is an Error(bad_input) that names file, line and reason, or with `skip_bad` goes to
// bad_lines. Throws Error(bad_input) too where the file is missing, unreadable or without a prompt, and
// Error(bad_usage) where its name ends otherwise.
PromptList read_work_list(const std::string& path, bool skip_bad);

// The same from an open stream, which messages call `name`.
PromptList read_work_list(std::istream& in, const std::string& name, bool is_json, bool skip_bad);

// Texts to score, in the same way: .txt has a text a line, .jsonl
//
//   {"text": "to be", "given": "To be or not "}
//
// with one of text and tokens, and optionally given (a text or a list of ids), id (by default the line's number) and
// seed. Each is a Prompt of one sample, its text start_text.
PromptList read_score_list(const std::string& path, bool skip_bad);
PromptList read_score_list(std::istream& in, const std::string& name, bool is_json, bool skip_bad);

// Throws Error(bad_input): the list called `name` is empty.
[[noreturn]] void fail_empty_list(const std::string& name, ListOf what);

// What is said of a line that cannot be used, before what to do about it: "list.jsonl:3: not valid JSON".
std::string bad_line_in_words(const std::string& name, const BadLine& bad);

// The run's list, of prompts or of texts to score; empty where there is none.
std::string list_path(const Config& config);

}  // namespace demask

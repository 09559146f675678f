#include "text/tokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <new>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "core/utf8.h"
#include "text/oniguruma.h"

namespace demask {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t max_expression_bytes = size_t{1} << 16;
// Backtracking that any usual match stays below. Longer ones are tried again with more, and what that takes is counted.
constexpr uint32_t usual_limit = 512;
constexpr uint32_t max_limit = 10'000'000;
constexpr double max_searching_s = 10;  // for searches that go beyond the usual, together
constexpr size_t first_stack_bytes = size_t{32} << 10;
constexpr size_t max_stack_bytes = size_t{64} << 20;

template <auto Function>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Function(object);
  }
};

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct TokenizerRegex::Code {
  std::unique_ptr<pcre2_code, Freed<pcre2_code_free>> compiled;
  bool is_machine_code = false;
};

TokenizerRegex::TokenizerRegex(std::string expression, std::string_view translated, uint32_t options)
    : expression_(std::move(expression)) {
  if (expression_.size() > max_expression_bytes) {
    fail(ExitCode::bad_input, "the regular expression {} has {} bytes, more than the {} allowed.", quote(expression_),
         expression_.size(), max_expression_bytes);
  }
  int error = 0;
  PCRE2_SIZE where = 0;
  auto code = std::make_shared<Code>();
  // Anchored: the search goes from character to character here, so that one call cannot try them all.
  code->compiled.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                     options | PCRE2_UTF | PCRE2_ANCHORED, &error, &where, nullptr));
  if (!code->compiled) {
    fail(ExitCode::bad_input, "the regular expression {} cannot be read: {}.", quote(expression_), message_of(error));
  }
  // Where the system forbids machine code made at run time, PCRE2 interprets.
  code->is_machine_code = pcre2_jit_compile(code->compiled.get(), PCRE2_JIT_COMPLETE) == 0;
  code_ = std::move(code);
}

TokenizerRegex TokenizerRegex::from_oniguruma(std::string_view expression) {
  return TokenizerRegex(std::string(expression), demask::from_oniguruma(expression), PCRE2_UCP | PCRE2_MULTILINE);
}

TokenizerRegex TokenizerRegex::literal(std::string_view text) {
  return TokenizerRegex(std::string(text), text, PCRE2_LITERAL);
}

struct Matcher::State {
  std::string expression;
  std::shared_ptr<const TokenizerRegex::Code> code;
  std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>> data;
  std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>> context;
  std::unique_ptr<pcre2_jit_stack, Freed<pcre2_jit_stack_free>> stack;
  Clock::duration spent{};
};

Matcher::Matcher(const TokenizerRegex& pattern) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.expression = pattern.expression_;
  state.code = pattern.code_;
  state.data.reset(pcre2_match_data_create(1, nullptr));
  state.context.reset(pcre2_match_context_create(nullptr));
  state.stack.reset(pcre2_jit_stack_create(first_stack_bytes, max_stack_bytes, nullptr));
  if (!state.data || !state.context || !state.stack) {
    throw std::bad_alloc();
  }
  pcre2_set_match_limit(state.context.get(), usual_limit);
  pcre2_set_heap_limit(state.context.get(), max_stack_bytes >> 10);
  pcre2_jit_stack_assign(state.context.get(), nullptr, state.stack.get());
}

Matcher::Matcher(Matcher&&) noexcept = default;
Matcher::~Matcher() = default;

void Matcher::give_up(const std::string& why) const {
  fail(ExitCode::bad_input, "the regular expression {} takes too long or too much memory on this text: {}.",
       quote(state_->expression), why);
}

std::optional<Span> Matcher::find(std::string_view text, size_t from) {
  while (from < text.size()) {
    if (const std::optional<Span> match = match_at(text, from)) {
      return match;
    }
    from += std::max(utf8_length(text.substr(from, 4)), size_t{1});
  }
  return from == text.size() ? match_at(text, from) : std::nullopt;
}

std::optional<Span> Matcher::match_at(std::string_view text, size_t from) {
  State& state = *state_;
  const auto search = [&] {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    return state.code->is_machine_code ? pcre2_jit_match(state.code->compiled.get(), subject, text.size(), from,
                                                         PCRE2_NO_UTF_CHECK, state.data.get(), state.context.get())
                                       : pcre2_match(state.code->compiled.get(), subject, text.size(), from,
                                                     PCRE2_NO_UTF_CHECK, state.data.get(), state.context.get());
  };
  int result = search();
  if (result == PCRE2_ERROR_MATCHLIMIT) {
    const Clock::time_point start = Clock::now();
    for (uint32_t limit = usual_limit; result == PCRE2_ERROR_MATCHLIMIT; limit *= 16) {
      if (limit > max_limit || state.spent + (Clock::now() - start) > std::chrono::duration<double>(max_searching_s)) {
        give_up(message_of(result));
      }
      pcre2_set_match_limit(state.context.get(), limit * 16);
      result = search();
    }
    pcre2_set_match_limit(state.context.get(), usual_limit);
    state.spent += Clock::now() - start;
  }
  if (result == PCRE2_ERROR_NOMATCH) {
    return std::nullopt;
  }
  if (result < 0) {
    give_up(message_of(result));
  }
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(state.data.get());
  return Span{span[0], span[1]};
}

}  // namespace demask

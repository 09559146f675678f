#include "pattern/completions.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pattern/reached_states.h"
#include "pattern/scaled_messages.h"

namespace demask {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

// Below this no summand changes a sum whose largest is 1, and no uniform number of 24 bits meets it.
constexpr double negligible = -50;

enum class Rule { by_chance, likeliest };

// Logarithms of what leads from the states of one position to a match, and how they are put together.
class Lattice {
 public:
  Lattice(const TokenAutomaton& automaton, const PartialText& text, const MaskedLogits& logits, Rule rule)
      : automaton_(automaton), text_(text), logits_(logits), rule_(rule) {
    class_sizes_.assign(static_cast<size_t>(automaton.classes()), 0);
    for (int64_t id = 0; id < logits.outputs; ++id) {
      if (const int32_t c = automaton.class_of(id); c != TokenAutomaton::none) {
        ++class_sizes_[static_cast<size_t>(c)];
      }
    }
    weights_.resize(logits.rows.size() * class_sizes_.size());
    for (size_t i = 0; i < logits.rows.size(); ++i) {
      weigh_classes(logits.rows[i], weights_of(i));
    }
    reached_.emplace(automaton, text, weights_, minus_infinity);
    send_messages();
  }

  // Null uniforms: the likeliest.
  std::optional<std::vector<int64_t>> complete(const float* uniforms) {
    if (messages_.front().empty() || messages_.front().front() == minus_infinity) {
      return std::nullopt;
    }
    return ids_along(automaton_, text_, [&](int32_t state, size_t position, size_t masked) {
      load_messages(position + 1);
      return rule_ == Rule::likeliest ? choose_likeliest(state, logits_.rows[masked])
                                      : choose(state, masked, uniforms[masked]);
    });
  }

 private:
  double* weights_of(size_t masked) { return weights_.data() + masked * class_sizes_.size(); }

  // The logarithm of a sum of exponentials, or their largest.
  template <typename ForEach>
  double combined(double largest, ForEach for_each) const {
    if (rule_ == Rule::likeliest || largest == minus_infinity) {
      return largest;
    }
    double sum = 0;
    for_each([&](double term) {
      if (term - largest > negligible) {
        sum += std::exp(term - largest);
      }
    });
    return largest + std::log(sum);
  }

  void weigh_classes(const float* logits, double* weights) {
    std::fill_n(weights, class_sizes_.size(), minus_infinity);
    for (int64_t id = 0; id < logits_.outputs; ++id) {
      const int32_t c = automaton_.class_of(id);
      if (c != TokenAutomaton::none && static_cast<double>(logits[id]) > weights[c]) {
        weights[c] = static_cast<double>(logits[id]);
      }
    }
    if (rule_ == Rule::likeliest) {
      return;
    }
    sums_.assign(class_sizes_.size(), 0);
    for (int64_t id = 0; id < logits_.outputs; ++id) {
      const int32_t c = automaton_.class_of(id);
      if (c != TokenAutomaton::none && class_sizes_[static_cast<size_t>(c)] > 1) {
        const double term = static_cast<double>(logits[id]) - weights[c];
        if (term > negligible) {
          sums_[static_cast<size_t>(c)] += std::exp(term);
        }
      }
    }
    for (size_t c = 0; c < sums_.size(); ++c) {
      weights[c] += sums_[c] > 0 ? std::log(sums_[c]) : 0;
    }
  }

  void load_messages(size_t position) {
    for (size_t i = 0; i < reached_->at(position).size(); ++i) {
      after_[static_cast<size_t>(reached_->at(position)[i])] = messages_[position][i];
    }
    std::fill(shared_.begin(), shared_.end(), std::numeric_limits<double>::quiet_NaN());
  }

  double message_over(TokenAutomaton::Edges edges, const double* weights, double shared) const {
    // A class without weight leads to states that were not reached, and whose messages belong to another position.
    const auto term = [&](const TokenAutomaton::Edge& edge) {
      const double weight = weights[edge.token_class];
      return weight == minus_infinity ? weight : weight + after_[static_cast<size_t>(edge.next)];
    };
    double largest = shared;
    for (const TokenAutomaton::Edge& edge : edges) {
      largest = std::max(largest, term(edge));
    }
    return combined(largest, [&](auto add) {
      add(shared);
      for (const TokenAutomaton::Edge& edge : edges) {
        add(term(edge));
      }
    });
  }

  double message_from(int32_t state, const double* weights) {
    double shared = minus_infinity;
    if (const int32_t group = automaton_.group_of(state); group != TokenAutomaton::none) {
      double& known = shared_[static_cast<size_t>(group)];
      known = std::isnan(known) ? message_over(automaton_.shared_edges(group), weights, minus_infinity) : known;
      shared = known;
    }
    return message_over(automaton_.edges(state), weights, shared);
  }

  void send_messages() {
    after_.assign(static_cast<size_t>(automaton_.states()), minus_infinity);
    shared_.resize(static_cast<size_t>(automaton_.groups()));
    messages_.resize(text_.slots.size() + 1);
    for (const int32_t state : reached_->at(text_.slots.size())) {
      messages_.back().push_back(automaton_.accepts(state) ? 0 : minus_infinity);
    }
    size_t masked = logits_.rows.size();
    for (size_t position = text_.slots.size(); position-- > 0;) {
      load_messages(position + 1);
      const bool is_masked = text_.slots[position] == PatternSlot::masked;
      const double* weights = is_masked ? weights_of(--masked) : nullptr;
      for (const int32_t state : reached_->at(position)) {
        const int32_t next = is_masked ? TokenAutomaton::none : next_at(automaton_, text_, position, state);
        messages_[position].push_back(is_masked                      ? message_from(state, weights)
                                      : next == TokenAutomaton::none ? minus_infinity
                                                                     : after_[static_cast<size_t>(next)]);
      }
    }
  }

  // The token of a masked position in this state, with the messages of the next position loaded.
  int64_t choose(int32_t state, size_t masked, float uniform) {
    const double* weights = weights_of(masked);
    const double message = message_from(state, weights);
    int32_t token_class = TokenAutomaton::none;
    double below = 0, share = 0;
    automaton_.for_each_edge(state, [&](const TokenAutomaton::Edge& edge) {
      const double weight = weights[edge.token_class];
      const double mass =
          weight == minus_infinity ? 0 : std::exp(weight + after_[static_cast<size_t>(edge.next)] - message);
      if (mass > 0 && below <= static_cast<double>(uniform)) {  // should rounding leave the sum below it, the last
        token_class = edge.token_class;
        share = std::min((static_cast<double>(uniform) - below) / mass, 1.0);
        below += mass;
      }
    });
    return token_class == TokenAutomaton::none
               ? 0
               : pick(automaton_, logits_, masked, token_class, weights[token_class], share);
  }

  int64_t choose_likeliest(int32_t state, const float* logits) {
    next_of_class_.assign(class_sizes_.size(), TokenAutomaton::none);
    automaton_.for_each_edge(state, [&](const TokenAutomaton::Edge& edge) {
      next_of_class_[static_cast<size_t>(edge.token_class)] = edge.next;
    });
    int64_t chosen = 0;
    double largest = minus_infinity;
    for (int64_t id = 0; id < logits_.outputs; ++id) {
      const int32_t c = automaton_.class_of(id);
      const int32_t next = c == TokenAutomaton::none ? c : next_of_class_[static_cast<size_t>(c)];
      const auto logit = static_cast<double>(logits[id]);
      if (next == TokenAutomaton::none || !(logit > minus_infinity)) {
        continue;
      }
      if (const double term = logit + after_[static_cast<size_t>(next)]; term > largest) {
        largest = term;
        chosen = id;
      }
    }
    return chosen;
  }

  const TokenAutomaton& automaton_;
  const PartialText& text_;
  const MaskedLogits& logits_;
  Rule rule_;
  std::vector<int64_t> class_sizes_;
  std::vector<double> weights_;  // [masked, classes], logarithms
  std::optional<ReachedStates> reached_;
  std::vector<std::vector<double>> messages_;  // of these states, logarithms
  std::vector<double> after_;                  // by state: the messages of one position
  std::vector<double> shared_;                 // by group: what its edges come to; not a number: not known yet
  std::vector<double> sums_;
  std::vector<int32_t> next_of_class_;
};

// What is left over when every position has been read, of states that `keeps` leaves; stops at the first position that
// none passes.
template <typename Keeps>
size_t read_text(const TokenAutomaton& automaton, const PartialText& text, Keeps keeps) {
  StateSet next(automaton);
  std::vector<int32_t> states = {TokenAutomaton::start()};
  size_t position = 0;
  for (; position < text.slots.size(); ++position) {
    advance(automaton, text, position, states, next, [&](int32_t c) { return automaton.is_drawable(c); });
    states = next.take();
    states.erase(std::remove_if(states.begin(), states.end(), [&](int32_t state) { return !keeps(state, position); }),
                 states.end());
    if (states.empty()) {
      break;
    }
  }
  return position;
}

}  // namespace

bool has_completion(const TokenAutomaton& automaton, const PartialText& text) {
  const size_t last = text.slots.size() - 1;
  return read_text(automaton, text, [&](int32_t state, size_t position) {
           return position < last || automaton.accepts(state);
         }) == text.slots.size();
}

bool has_completion(const TokenAutomaton& automaton, const PartialText& text, const std::vector<OpenRun>& runs) {
  StateSet next(automaton), after(automaton);
  std::vector<int32_t> states = {TokenAutomaton::start()};
  const auto pass = [&](size_t position) {
    advance(automaton, text, position, states, next, [&](int32_t c) { return automaton.is_drawable(c); });
    states = next.take();
  };
  auto run = runs.begin();
  for (size_t position = 0; position < text.slots.size() && !states.empty();) {
    if (run == runs.end() || run->first != position) {
      pass(position++);
      continue;
    }
    for (size_t length = 0;; ++length) {
      if (length >= run->least) {
        std::for_each(states.begin(), states.end(), [&](int32_t state) { after.add(state); });
      }
      if (length == run->most) {
        break;
      }
      pass(position + length);
    }
    states = after.take();
    position += run++->room;
  }
  return std::any_of(states.begin(), states.end(), [&](int32_t state) { return automaton.accepts(state); });
}

std::optional<int64_t> first_contradiction(const TokenAutomaton& automaton, const Reachable& reachable,
                                           const PartialText& text) {
  const auto shown =
      static_cast<int64_t>(text.slots.size()) - std::count(text.slots.begin(), text.slots.end(), PatternSlot::unshown);
  if (!reachable.from(TokenAutomaton::start(), shown)) {
    return std::nullopt;
  }
  return static_cast<int64_t>(read_text(automaton, text, [&](int32_t state, size_t position) {
    return reachable.from(state, std::min(shown, static_cast<int64_t>(text.slots.size() - position) - 1));
  }));
}

std::optional<std::vector<int64_t>> draw_completion(const TokenAutomaton& automaton, const PartialText& text,
                                                    const MaskedLogits& logits, const float* uniforms) {
  ScaledMessages messages(automaton, text, logits);
  return messages.hold() ? messages.draw(uniforms)
                         : Lattice(automaton, text, logits, Rule::by_chance).complete(uniforms);
}

std::optional<std::vector<int64_t>> likeliest_completion(const TokenAutomaton& automaton, const PartialText& text,
                                                         const MaskedLogits& logits) {
  return Lattice(automaton, text, logits, Rule::likeliest).complete(nullptr);
}

}  // namespace demask

// A pattern over the tokens of a vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "pattern/byte_automaton.h"
#include "text/vocabulary.h"

namespace demask {

// Which tokens lead from which state to which. Tokens that no state tells apart are one class, so that the table is
// states x classes, not states x vocabulary, and sparse: a class that leads nowhere from a state has no edge there.
class TokenAutomaton {
 public:
  static constexpr int32_t none = -1;  // no state, or no class

  struct Edge {
    int32_t token_class = 0;
    int32_t next = 0;
  };
  struct Edges {
    const Edge *first, *last;
    const Edge* begin() const { return first; }
    const Edge* end() const { return last; }
  };

  // From which states a class leads where; ascending.
  using ClassEdges = std::vector<std::pair<int32_t, int32_t>>;

  // allowed: ids that may be drawn. end_token: where given, drawing it in an accepting state ends the text, whatever is
  // drawn then. Throws Error(bad_usage) where the table would be larger than is any use.
  TokenAutomaton(const ByteAutomaton& bytes, const Vocabulary& vocabulary, const std::vector<int64_t>& allowed,
                 std::optional<int64_t> end_token);

  int32_t states() const { return static_cast<int32_t>(accepts_.size()); }
  static constexpr int32_t start() { return 0; }
  bool accepts(int32_t state) const { return accepts_[static_cast<size_t>(state)] != 0; }
  // The state of texts that have ended; none where none does.
  int32_t ended() const { return ended_; }

  int32_t classes() const { return static_cast<int32_t>(is_drawable_.size()); }
  // Of a token that is drawn; none where it can stand nowhere.
  int32_t class_of(int64_t id) const {
    return id < static_cast<int64_t>(class_of_.size()) ? class_of_[static_cast<size_t>(id)] : none;
  }
  // Of a token that is given.
  int32_t class_of_given(int64_t id) const { return id == end_token_ ? end_token_as_text_ : class_of(id); }
  // Whether the class has a token that may be drawn.
  bool is_drawable(int32_t token_class) const { return is_drawable_[static_cast<size_t>(token_class)] != 0; }

  // Those of the state alone, and those that it shares with every state of its group; ascending in their classes.
  Edges edges(int32_t state) const { return row(state); }
  Edges shared_edges(int32_t group) const { return group == none ? Edges{nullptr, nullptr} : row(states() + group); }
  // A group: states from which many classes lead to the same states, as separators do from wherever a word may end.
  int32_t group_of(int32_t state) const { return group_of_[static_cast<size_t>(state)]; }
  int32_t groups() const { return static_cast<int32_t>(first_edge_.size()) - 1 - states(); }
  // Visits both kinds.
  template <typename Visit>
  void for_each_edge(int32_t state, Visit visit) const {
    for (const Edges some : {edges(state), shared_edges(group_of(state))}) {
      for (const Edge& edge : some) {
        visit(edge);
      }
    }
  }
  size_t edge_count() const { return edges_.size(); }
  int32_t next_by_class(int32_t state, int32_t token_class) const;
  // After a token that was drawn, and after one that is given: that is text even where it is the end token, and nothing
  // given may come after the end. None where nothing matches.
  int32_t next_drawn(int32_t state, int64_t id) const { return next_by_class(state, class_of(id)); }
  int32_t next_given(int32_t state, int64_t id) const;

 private:
  Edges row(int32_t number) const {
    return {edges_.data() + first_edge_[static_cast<size_t>(number)],
            edges_.data() + first_edge_[static_cast<size_t>(number) + 1]};
  }
  // class_edges: of each class the states that it leads from, with where to.
  void set_edges(const std::vector<const ClassEdges*>& class_edges);

  std::vector<uint8_t> accepts_;
  std::vector<int32_t> class_of_;  // by id
  std::vector<uint8_t> is_drawable_;
  std::vector<int32_t> group_of_;   // by state
  std::vector<size_t> first_edge_;  // of states, then of groups
  std::vector<Edge> edges_;
  std::optional<int64_t> end_token_;
  int32_t end_token_as_text_ = none;  // its class where it is given
  int32_t ended_ = none;
};

// Bytes that tokens with text have.
ByteSet spelling_bytes(const Vocabulary& vocabulary);

// What texts keep to: a pattern, a list of words, or both; not neither.
struct TextRule {
  std::optional<std::string_view> pattern;
  const ByteAutomaton* words = nullptr;  // of spelling_bytes
};

// Reads the rule for the vocabulary. Throws Error(bad_usage) as parse_pattern, ByteAutomaton and TokenAutomaton.
std::shared_ptr<const TokenAutomaton> compile_rule(const TextRule& rule, const Vocabulary& vocabulary,
                                                   const std::vector<int64_t>& allowed,
                                                   std::optional<int64_t> end_token);
std::shared_ptr<const TokenAutomaton> compile_pattern(std::string_view pattern, const Vocabulary& vocabulary,
                                                      const std::vector<int64_t>& allowed,
                                                      std::optional<int64_t> end_token);

}  // namespace demask

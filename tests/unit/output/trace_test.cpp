#include "output/trace.h"

#include <ATen/ATen.h>

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "output/read_trace.h"
#include "output/report.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/fuzz_inputs.h"
#include "tests/support/process.h"
#include "tests/support/word_pieces.h"
#include "text/character_vocabulary.h"

using namespace demask;
using namespace demask::testing;
using Json = nlohmann::ordered_json;

namespace {

constexpr int64_t mask = 3;

// By RFC 4648, written for this test alone.
std::vector<int64_t> decode(const Json& table) {
  const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uint8_t> bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : table["data"].get<std::string>()) {
    if (c == '=') {
      break;
    }
    bits = bits << 6 | static_cast<uint32_t>(letters.find(c));
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<uint8_t>(bits >> count));
    }
  }
  const std::string type = table["type"];
  const size_t width = type == "uint8" ? 1 : type == "uint16" ? 2 : 4;
  std::vector<int64_t> values;
  for (size_t i = 0; i < bytes.size(); i += width) {
    int64_t value = 0;
    for (size_t k = 0; k < width; ++k) {
      value |= static_cast<int64_t>(bytes[i + k]) << (8 * k);
    }
    values.push_back(value);
  }
  return values;
}

TraceRun a_run() {
  TraceRun run;
  run.method = "diffusion";
  run.title = "remask, 2 iterations";
  run.command = "demask";
  run.header = {{"demask", "0"}, {"settings", Json::object()}};
  run.description = Json::array();
  run.mask_token_id = mask;
  return run;
}

CharacterVocabulary letters() {
  return CharacterVocabulary({"a", "b", "c"});
}

// Three positions, the first given. Step 1 draws b and a and masks the a again; step 2 draws c and masks the b; step 3
// draws b.
TracedSample a_sample() {
  const float none = std::numeric_limits<float>::quiet_NaN();
  auto steps = std::make_shared<StepTrace>();
  steps->filled = at::tensor({2, 1, 0, 2, 1, 2, 2, 1, 2}, at::kLong).view({3, 3});
  steps->masked = at::tensor({0, 0, 1, 0, 1, 0, 0, 0, 0}, at::kInt).to(at::kBool).view({3, 3});
  steps->confidence = at::tensor({1.0F, 0.5F, 0.25F, 1.0F, 0.75F, 0.125F, 1.0F, 0.0F, 0.0F}).view({3, 3});
  steps->judged = at::tensor({0.9F, 0.8F, 0.1F, none, none, none, none, none, none}).view({3, 3});
  steps->likeliest = at::tensor({0, 1, 2}, at::kLong).expand({3, 3, 3}).contiguous();
  steps->likeliest_probabilities = at::tensor({0.5F, 0.25F, 0.125F}).expand({3, 3, 3}).contiguous();
  steps->final_confidence = at::tensor({1.0F, 0.5F, 0.0F});
  steps->scheduled = {1, 1, 0};
  TracedSample sample;
  sample.identity.index = 7;
  sample.identity.seed = 1337;
  sample.given = {true, false, false};
  sample.self_confidence = -0.5;
  sample.steps = steps;
  return sample;
}

}  // namespace

TEST_CASE("A trace says of every position what each step did to it") {
  const Json trace = trace_json(a_run(), {a_sample()}, letters());
  CHECK(trace["format"] == "demask trace");
  CHECK(trace["version"] == trace_version);
  const Json& sample = trace["samples"][0];
  CHECK(sample["tokens"]["shape"] == Json({3, 3}));
  enum { kept, drawn, withdrawn, remasked };
  CHECK(decode(sample["states"]) ==
        std::vector<int64_t>{kept, drawn, withdrawn, kept, remasked, drawn, kept, drawn, kept});
  std::vector<std::string> texts;
  for (const int64_t number : decode(sample["tokens"])) {
    texts.push_back(trace["tokens"][static_cast<size_t>(number)]);
  }
  CHECK(texts == std::vector<std::string>{"c", "b", "a", "c", "b", "c", "c", "b", "c"});
  const std::vector<int64_t> confidence = decode(sample["confidence"]);
  CHECK(confidence[0] == 254);
  CHECK(confidence[1] == 127);
  CHECK(confidence[5] == 32);
  const std::vector<int64_t> judged = decode(sample["judged"]);
  CHECK(judged[0] == 229);
  CHECK(judged[3] == 255);
  CHECK(sample["likeliest"]["shape"] == Json({4, 3}));  // of the four drawn
  CHECK(sample["given"] == Json({{0, 1}}));
  CHECK(sample["index"] == 7);
  CHECK(sample["scheduled"] == Json({1, 1, 0}));
}

TEST_CASE("Steps after which nothing happens are left out") {
  TracedSample sample = a_sample();
  auto steps = std::make_shared<StepTrace>(*sample.steps);
  steps->masked = at::zeros({3, 3}, at::kBool);  // all is drawn by the first
  sample.steps = steps;
  const Json trace = trace_json(a_run(), {sample}, letters());
  CHECK(trace["samples"][0]["tokens"]["shape"] == Json({1, 3}));
  CHECK(trace["samples"][0]["scheduled"].size() == 1);
}

TEST_CASE("1,024 tokens in 100 steps stay under 2 MB, whatever is drawn") {
  constexpr int64_t length = 1024, steps = 100;
  for (const int64_t tokens : {int64_t{66}, int64_t{60000}}) {
    std::vector<std::optional<std::string>> texts(static_cast<size_t>(tokens), "x");
    auto worst = std::make_shared<StepTrace>();
    at::manual_seed(1);
    worst->filled = at::randint(tokens, {steps, length}, at::kLong);
    worst->masked = at::ones({steps, length}, at::kBool);  // so that every step draws every position
    worst->masked[steps - 1].fill_(false);
    worst->confidence = at::rand({steps, length});
    worst->judged = at::rand({steps, length});
    // As many different tokens as two bytes tell apart at the most; their texts come on top.
    worst->likeliest = at::randint(std::min<int64_t>(tokens, 1000), {steps, length, 3}, at::kLong);
    worst->likeliest_probabilities = at::rand({steps, length, 3});
    worst->final_confidence = at::rand({length});
    TracedSample sample;
    sample.given.assign(length, false);
    sample.steps = worst;
    TraceRun run = a_run();
    run.mask_token_id = tokens;
    Json trace = trace_json(run, {sample}, CharacterVocabulary(texts));
    trace["tokens"] = Json::array();
    trace["token_ids"] = Json::array();
    CHECK(to_text(trace).size() < 2'000'000);
  }
}

TEST_CASE("Of word pieces a trace has the bytes of those that hold parts of characters, and names the special") {
  const WordPieces pieces({" \xf0\x9f", "<|e|>", "the"}, {1});
  const TemporaryFolder folder;
  const Json trace = trace_json(a_run(), {a_sample()}, pieces);  // in order of appearance: 2, 1, 0
  CHECK(trace["version"] == 1);
  CHECK(trace["token_ids"] == Json({2, 1, 0}));
  CHECK(trace["tokens"] == Json({"the", "<|e|>", " \uFFFD"}));
  CHECK(trace["token_bytes"] == Json::object({{"2", "20f09f"}}));
  CHECK(trace["special_tokens"] == Json({1}));
  write_file(folder / "trace.json", to_text(trace));
  CHECK(read_trace(folder / "trace.json") == trace);
  CHECK_FALSE(trace_json(a_run(), {a_sample()}, letters()).contains("token_bytes"));
}

TEST_CASE("A trace reads back as it was written") {
  const TemporaryFolder folder;
  const Json trace = trace_json(a_run(), {a_sample()}, letters());
  write_file(folder / "trace.json", to_text(trace));
  CHECK(read_trace(folder / "trace.json") == trace);
}

TEST_CASE("What is no trace, or not one that this version reads, is refused by name") {
  const TemporaryFolder folder;
  const std::string path = folder / "trace.json";
  const Json good = trace_json(a_run(), {a_sample()}, letters());
  const auto refuses = [&](const std::string& content, const std::string& reason) {
    write_file(path, content);
    CAPTURE(content.substr(0, 200), reason);
    const std::string message = bad_input_message([&] { read_trace(path); });
    CHECK(message.find(path) != std::string::npos);
    CHECK(message.find(reason) != std::string::npos);
  };
  refuses("", "not JSON");
  refuses("{\"format\"", "not JSON");
  refuses(std::string(100000, '['), "nests too deep");
  std::string deep = to_text(good);
  const std::string run = "\"run\":{";
  deep.insert(deep.find(run) + run.size(), "\"x\":" + std::string(100000, '[') + std::string(100000, ']') + ",");
  refuses(deep, "nests too deep");
  refuses("[]", "no trace of demask");
  refuses("{\"format\": \"something else\"}", "no trace of demask");
  const auto changed = [&good](const std::function<void(Json&)>& change) {
    Json trace = good;
    change(trace);
    return to_text(trace);
  };
  refuses(changed([](Json& trace) { trace["version"] = 2; }), "version 2, and this demask reads version 1");
  refuses(changed([](Json& trace) { trace.erase("version"); }), "version none");
  refuses(changed([](Json& trace) { trace.erase("command"); }), "'command'");
  refuses(changed([](Json& trace) { trace["samples"] = Json::array(); }), "'samples'");
  refuses(changed([](Json& trace) { trace["tokens"][0] = 1; }), "'tokens'");
  for (const char* name : {"tokens", "states", "confidence", "judged", "likeliest", "likeliest_probabilities",
                           "final_confidence", "given", "scheduled", "seed"}) {
    CAPTURE(name);
    const std::string quoted = "'" + std::string(name) + "'";
    refuses(changed([&](Json& trace) { trace["samples"][0].erase(name); }), quoted);
    refuses(changed([&](Json& trace) { trace["samples"][0][name] = "text"; }), quoted);
  }
  for (const Json& bytes : std::vector<Json>{
           1, {{"9", "20"}}, {{"x", "20"}}, {{"-1", "20"}}, {{"0", 1}}, {{"0", ""}}, {{"0", "2"}}, {{"0", "2g"}}}) {
    refuses(changed([&](Json& trace) { trace["token_bytes"] = bytes; }), "'token_bytes'");
  }
  for (const Json& special : std::vector<Json>{1, Json::array({9}), Json::array({-1}), Json::array({"0"})}) {
    refuses(changed([&](Json& trace) { trace["special_tokens"] = special; }), "'special_tokens'");
  }
  for (const char* name : {"tokens", "states", "judged"}) {
    const std::string quoted = "'" + std::string(name) + "'";
    refuses(changed([&](Json& trace) { trace["samples"][0][name]["data"] = "AAAA"; }), quoted);
    refuses(changed([&](Json& trace) { trace["samples"][0][name]["data"].get_ref<std::string&>()[0] = '?'; }), quoted);
    refuses(changed([&](Json& trace) { trace["samples"][0][name]["shape"][0] = -1; }), quoted);
    refuses(changed([&](Json& trace) { trace["samples"][0][name]["shape"][0] = 1e18; }), quoted);
    refuses(changed([&](Json& trace) { trace["samples"][0][name]["type"] = "float"; }), quoted);
  }
  const std::string absent = bad_input_message([&] { read_trace(folder / "absent.json"); });
  CHECK(absent.find("absent.json") != std::string::npos);
}

TEST_CASE("Every trace of the fuzzers is read or refused") {
  const std::vector<std::string> paths = fuzz_inputs("trace");
  CHECK_FALSE(paths.empty());
  for (const std::string& path : paths) {
    CAPTURE(path);
    succeeds_or_reports([&] { report_page({read_trace(path)}); });
  }
}

TEST_CASE("In a report nothing that a trace says ends its script or begins a tag") {
  TraceRun run = a_run();
  run.title = "</title></script><img src=x> {{script}} & co";
  run.command = "demask --start_text='</script><!--<script>'";
  const std::string page = report_page({trace_json(
      run, {a_sample()}, CharacterVocabulary({"</script>", "\"'&<", std::string("\0\xF0\x9F\x98\x80", 5)}))});
  const auto count = [&page](const std::string& part) {
    size_t found = 0;
    for (size_t at = page.find(part); at != std::string::npos; at = page.find(part, at + 1)) {
      ++found;
    }
    return found;
  };
  CHECK(count("</script>") == 2);  // of the trace and of the page's own
  CHECK(count("<!--") == 0);
  CHECK(count("<img") == 0);
  CHECK(count("&lt;/title&gt;&lt;/script&gt;&lt;img src=x&gt; {{script}} &amp; co") == 2);  // the title and the heading
}

#include "config/command_line.h"

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/fields.h"
#include "config/literal_source.h"
#include "config/printing.h"
#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace demask {
namespace {

using Arguments = std::vector<std::string>;
using testing::TemporaryFolder;
using testing::write_file;

Config config_of(const Arguments& arguments) {
  return parse_command_line(arguments).parsed.config;
}

struct Failure {
  ExitCode code = ExitCode::done;
  std::string message;
  bool says(const std::string& part) const { return message.find(part) != std::string::npos; }
};

Failure failure_of(const Arguments& arguments) {
  try {
    parse_command_line(arguments);
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {};
}

TEST_CASE("no argument at all runs with the defaults") {
  const CommandLine command_line = parse_command_line({});
  CHECK(command_line.action == CommandLine::Action::run);
  CHECK(command_line.parsed.given.empty());
  CHECK(command_line.parsed.config.sequence_length == 512);
}

TEST_CASE("values are literals, or else the text as it stands") {
  const Config config = config_of({"--num_samples=3", "--temperature=1e-3", "--top_p=1", "--compile=True",
                                   "--intelligent_remasking=false", "--dataset=shakespeare_char",
                                   "--start_text=\"quoted\\n\"", "--masking_ratios=[0.9, 0.5]", "--top_k=None",
                                   "--infill_text=a=b==c", "--device=cuda:1", "--seed=-1"});
  CHECK(config.num_samples == 3);
  CHECK(config.diffusion.temperature == 0.001);
  CHECK(config.top_p == 1.0);
  CHECK(config.compile);
  CHECK_FALSE(config.diffusion.parameters.flag("intelligent_remasking"));
  CHECK(config.dataset == "shakespeare_char");
  CHECK(config.start_text == "quoted\n");
  CHECK(config.diffusion.masking_ratios == std::vector<double>{0.9, 0.5});
  CHECK_FALSE(config.top_k);
  CHECK(config.infill_text == "a=b==c");
  CHECK(config.device == "cuda:1");
  CHECK(config.seed == -1);
}

TEST_CASE("a text key takes what looks like another type as text, and None only where it can be None") {
  CHECK(config_of({"--dataset=123"}).dataset == "123");
  CHECK(config_of({"--start_text=True"}).start_text == "True");
  CHECK(config_of({"--start_text=[1, 2]"}).start_text == "[1, 2]");
  CHECK(config_of({"--start_text= 7 "}).start_text == " 7 ");
  CHECK(config_of({"--start_text="}).start_text.empty());
  CHECK(config_of({"--start_text=None"}).start_text == "None");
  CHECK(config_of({"--dataset=a", "--dataset=None"}).dataset == std::nullopt);
  CHECK(config_of({"--dataset='None'"}).dataset == "None");
  CHECK(config_of({"--mask_char=5"}).mask_char == "5");
  CHECK(config_of({"--start_text=it's"}).start_text == "it's");
}

TEST_CASE("a value may be an argument of its own, and a bare boolean means True") {
  const Config config = config_of({"--seed", "-1", "--log_debug", "--start_text", "[a=b,c]", "--show_progress", "False",
                                   "--compile", "--top_k", "None"});
  CHECK(config.seed == -1);
  CHECK(config.log_debug);
  CHECK(config.start_text == "[a=b,c]");
  CHECK_FALSE(config.show_progress);
  CHECK(config.compile);
  CHECK_FALSE(config.top_k);
  CHECK(failure_of({"--seed"}).says("--seed needs a value"));
  CHECK(failure_of({"--start_text", "--seed=3"}).says("--start_text needs a value"));
}

TEST_CASE("nanoGPT's names work: start is start_text and temperature reaches standard sampling") {
  const CommandLine command_line =
      parse_command_line({"--sampling_method=standard", "--start=Hi", "--temperature=0.5"});
  CHECK(command_line.parsed.config.start_text == "Hi");
  CHECK(command_line.parsed.config.std_temperature == 0.5);
  CHECK(command_line.parsed.given == std::set<std::string>{"sampling_method", "start_text", "temperature"});
}

TEST_CASE("files and keys act from left to right, later ones win") {
  const TemporaryFolder folder;
  const std::string python = folder / "a.py";
  const std::string json = folder / "b.json";
  write_file(python, "seed = 1\ntemperature = 1  # an int for a float\ndataset = 'x'\n");
  write_file(json, R"({"seed": 2, "top_k": null, "masking_ratios": [1, 0.5], "start": "\ud83d\ude00\/"})");
  CHECK(config_of({"--seed=9", python}).seed == 1);
  CHECK(config_of({python, "--seed=9"}).seed == 9);
  CHECK(config_of({json, python}).seed == 1);
  const Config config = config_of({python, "--seed=5", json, "--dataset=y"});
  CHECK(config.seed == 2);
  CHECK(config.diffusion.temperature == 1.0);
  CHECK(config.dataset == "y");
  CHECK_FALSE(config.top_k);
  CHECK(config.diffusion.masking_ratios == std::vector<double>{1.0, 0.5});
  CHECK(config.diffusion.schedule_type == ScheduleType::custom);
  CHECK(config.start_text == "\xF0\x9F\x98\x80/");
}

TEST_CASE("a file written on Windows reads like any other") {
  const TemporaryFolder folder;
  write_file(folder / "a.py", "\xEF\xBB\xBFseed = 3\r\nstart_text = '''a\r\nb'''\r\n");
  write_file(folder / "b.json", "\xEF\xBB\xBF{\r\n\"top_k\": 7\r\n}\r\n");
  const Config config = config_of({folder / "a.py", folder / "b.json"});
  CHECK(config.seed == 3);
  CHECK(config.start_text == "a\nb");
  CHECK(config.top_k == 7);
}

TEST_CASE("an unknown key names the nearest one") {
  const Failure failure = failure_of({"--temprature=1"});
  CHECK(failure.code == ExitCode::bad_usage);
  CHECK(failure.message == "unknown key --temprature; did you mean --temperature? See demask --help");
  CHECK(failure_of({"--top-p=0.9"}).says("--top_p"));
  CHECK(failure_of({"--"}).code == ExitCode::bad_usage);
  CHECK(failure_of({"-seed=3"}).code == ExitCode::bad_usage);
  CHECK(failure_of({"seed=3"}).says("--key=value"));
}

TEST_CASE("a wrong value names the key, the value and what is allowed") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"--num_samples=0", "from 1"},
      {"--sequence_length=-5", "from 1"},
      {"--sequence_length=512.0", "a whole number"},
      {"--top_p=2", "above 0 and at most 1"},
      {"--temperature=-1", "at least 0"},
      {"--temperature=hot", "a number"},
      {"--temperature=inf", "a number"},
      {"--temperature=1e999", "a number"},
      {"--start_ratio=1.5", "from 0 to 1"},
      {"--masking_ratios=[]", "a list of one or more numbers from 0 to 1"},
      {"--batch_size=many", "or None"},
      {"--log_debug=1", "True or False"},
      {"--dtype=float64", "'auto', 'float32', 'bfloat16', 'float16' or 'int8'"},
      {"--init_from=gpt2", "'resume', the only source"},
      {"--mask_char=ab", "a single character"},
      {"--device=cuda:x", "'cuda:N'"}};
  for (const auto& [argument, allowed] : cases) {
    CAPTURE(argument);
    const Failure failure = failure_of({argument});
    CHECK(failure.code == ExitCode::bad_usage);
    CHECK(failure.says(argument + ": must be "));
    CHECK(failure.says(allowed));
  }
}

TEST_CASE("a device that is named twice is refused, and the message says which") {
  const Failure failure = failure_of({"--device=cuda:2,0,2"});
  CHECK(failure.code == ExitCode::bad_usage);
  CHECK(failure.says("device='cuda:2,0,2': names cuda:2 twice"));
  CHECK(parse_command_line({"--device=cuda:2,0"}).parsed.config.device == "cuda:2,0");
}

TEST_CASE("an empty value or argument is refused and quoted, but for a prompt's") {
  for (const std::string key : {"log_debug", "seed", "dtype", "output", "trace", "report", "compare", "prompts",
                                "shard", "merge", "out_dir", "checkpoint_name", "data_dir", "dataset", "meta_path"}) {
    CAPTURE(key);
    const Failure failure = failure_of({"--" + key + "="});
    CHECK(failure.code == ExitCode::bad_usage);
    CHECK(failure.says("--" + key + "='': must be "));
  }
  CHECK(failure_of({"--output="}).says("not empty"));
  CHECK(config_of({"--start_text=", "--infill_text="}).infill_text == "");
  const Failure argument = failure_of({""});
  CHECK(argument.code == ExitCode::bad_usage);
  CHECK(argument.says("'' is neither"));
}

TEST_CASE("an output on stdout, in which order and after which wait, is refused where it has no place") {
  CHECK(config_of({"--prompts=-", "--output=-", "--order=done", "--batch_wait_ms=0"}).order == Order::done);
  CHECK(failure_of({"--order=done", "--output=a.jsonl"}).says("is in the order of the list. Give --output=-"));
  CHECK(failure_of({"--merge=a", "--output=-"}).says("give --output=FILE.jsonl"));
  CHECK(failure_of({"--prompts=-", "--output=-", "--resume=True"}).says("ends in .jsonl, and '-' does not"));
  CHECK(failure_of({"--batch_wait_ms=1"}).says("is for lines of --prompts or --score"));
  CHECK(failure_of({"--prompts=-", "--batch_wait_ms=-1"}).says("from 0 to 60000"));
}

TEST_CASE("an output named as another kind of file than demask writes is refused with the right name") {
  const std::vector<std::pair<std::string, std::string>> cases = {{"a/x.json", "'a/x.jsonl'"},
                                                                  {"x.JSONL", "'x.jsonl'"},
                                                                  {"x.Json", "'x.jsonl'"},
                                                                  {"x.jsonl.gz", "'x.jsonl'"},
                                                                  {"x.json.zst", "'x.jsonl'"},
                                                                  {"x.ndjson", "'x.jsonl'"},
                                                                  {"x-{shard}.json", "'x-{shard}.jsonl'"},
                                                                  {"x.txt.gz", "'x.txt'"}};
  for (const auto& [output, instead] : cases) {
    CAPTURE(output);
    const Failure failure = failure_of({"--output=" + output});
    CHECK(failure.code == ExitCode::bad_usage);
    CHECK(failure.says("output='" + output + "'"));
    CHECK(failure.says(instead));
  }
  for (const char* output : {"x.jsonl", "x.txt", "x", "json", "x.json.txt", "/dev/stdout", "dir.json/x"}) {
    CAPTURE(output);
    CHECK(failure_of({"--output=" + std::string(output)}).code == ExitCode::done);
  }
}

TEST_CASE("a number without bounds is described without any") {
  const Failure failure = failure_of({"--new_token_bonus=much"});
  CHECK(failure.message == "--new_token_bonus=much: must be a number, or None");
}

TEST_CASE("an error repeats no more than the beginning of a long value") {
  std::string long_value;
  for (int i = 0; i < 1000; ++i) {
    long_value += "\xE2\x82\xAC";
  }
  const Failure failure = failure_of({"--dtype=" + long_value});
  CHECK(failure.message.size() < 300);
  CHECK(failure.says("\xE2\x82\xAC..."));
}

TEST_CASE("a config file that is missing, a folder, too long or no config file at all is named") {
  const TemporaryFolder folder;
  const Failure missing = failure_of({folder / "missing.py"});
  CHECK(missing.code == ExitCode::bad_input);
  CHECK(missing.says(folder / "missing.py"));
  const Failure other = failure_of({folder / "a.yaml"});
  CHECK(other.code == ExitCode::bad_usage);
  CHECK(other.says("a.yaml"));
  write_file(folder / "big.py", "start_text = '" + std::string(size_t{2} << 20, 'a') + "'");
  CHECK(failure_of({folder / "big.py"}).code == ExitCode::bad_input);
  std::filesystem::create_directory(folder / "folder.json");
  CHECK(failure_of({folder / "folder.json"}).says("is a folder"));
}

TEST_CASE("an error in a config file names file and line") {
  struct Case {
    std::string name;
    std::string content;
    ExitCode code;
    std::string place;
    std::string part;
  };
  const std::vector<Case> cases = {
      {"a.py", "# x\nimport os\n", ExitCode::bad_input, "a.py:2:", "key = value"},
      {"a.py", "seed = 1\nseed = seed + 1\n", ExitCode::bad_input, "a.py:2:", "quotes"},
      {"a.py", "masking_ratios = [0.9,\n 0.5,\n", ExitCode::bad_input, "a.py:1:", "never closed"},
      {"a.py", "\n\ntemprature = 1\n", ExitCode::bad_usage, "a.py:3:", "did you mean temperature"},
      {"a.py", "start_text = '''\n\n'''\ntop_p = 2\n", ExitCode::bad_usage, "a.py:4: top_p = 2:", "at most 1"},
      {"a.py", "dataset = 123\n", ExitCode::bad_usage, "a.py:1: dataset = 123:", "a text, or None"},
      {"a.json", "{\n\"seed\": 1,\n}", ExitCode::bad_input, "a.json:3:", "JSON"},
      {"a.json", "", ExitCode::bad_input, "a.json:1:", "JSON"},
      {"a.json", "{\"seed\": 1\n", ExitCode::bad_input, "a.json:2:", "JSON"},
      {"a.json", "{\n\"temperature\": 1e999\n}", ExitCode::bad_input, "a.json:2:", "JSON"},
      {"a.json", "[1]", ExitCode::bad_input, "a.json:1:", "object"},
      {"a.json", "{\n\n\"temprature\": 1}", ExitCode::bad_usage, "a.json:3:", "did you mean temperature"},
      {"a.json", "{\"seed\": 1,\n\"top_p\":\n2}", ExitCode::bad_usage, "a.json:2: top_p = 2:", "at most 1"},
      {"a.json", "{\n\"masking_ratios\": [[1]]}", ExitCode::bad_usage, "a.json:2: masking_ratios", "no key"},
      {"a.json", "{\n\"seed\": 18446744073709551615}", ExitCode::bad_usage, "a.json:2: seed", "no key"},
      {"a.json", "{\n\"seed\": 1,\n\"top_k\": 2,\n\"seed\": 1}", ExitCode::bad_usage, "a.json:4: seed", "after line 2"},
      {"a.json", "{\"seed\": {}}", ExitCode::bad_usage, "a.json:1: seed", "no key"}};
  const TemporaryFolder folder;
  for (const Case& one : cases) {
    CAPTURE(one.content);
    write_file(folder / one.name, one.content);
    const Failure failure = failure_of({folder / one.name});
    CAPTURE(failure.message);
    CHECK(failure.code == one.code);
    CHECK(failure.says("/" + one.place));
    CHECK(failure.says(one.part));
  }
}

TEST_CASE("keys that contradict each other are found once everything is read") {
  CHECK(failure_of({"--schedule_type=custom"}).says("masking_ratios"));
  CHECK(failure_of({"--schedule_type=linear", "--masking_ratios=[0.5]"}).code == ExitCode::bad_usage);
  CHECK(failure_of({"--schedule_type=custom", "--masking_ratios=[0.5]"}).code == ExitCode::done);
  CHECK(failure_of({"--masking_ratios=[0.5]", "--masking_ratios=None"}).code == ExitCode::done);
  CHECK(failure_of({"--start_ratio=0.1", "--end_ratio=0.9"}).code == ExitCode::done);
}

TEST_CASE("help, version and print_config are told to the caller; help and version do not mind other mistakes") {
  using Action = CommandLine::Action;
  CHECK(parse_command_line({"--help"}).action == Action::help);
  CHECK(parse_command_line({"-h", "--nonsense"}).action == Action::help);
  CHECK(parse_command_line({"--seed=x", "--version"}).action == Action::version);
  CHECK(parse_command_line({"--doctor", "--nonsense"}).action == Action::doctor);
  const CommandLine generate = parse_command_line({"--generate=zsh"});
  CHECK(generate.action == Action::generate);
  CHECK(generate.generated == Generated::zsh);
  CHECK(failure_of({"--generate=tcsh"}).says("man, bash, zsh, fish"));
  CHECK(failure_of({"--generate"}).code == ExitCode::bad_usage);
  CHECK(failure_of({"--doctor=yes"}).code == ExitCode::bad_usage);
  const CommandLine print = parse_command_line({"--seed=3", "--print_config", "--top_k=5"});
  CHECK(print.action == Action::print_config);
  CHECK(print.parsed.config.seed == 3);
  CHECK(print.parsed.config.top_k == 5);
  CHECK(failure_of({"--print_config", "--seed=x"}).code == ExitCode::bad_usage);
  CHECK(failure_of({"--help=yes"}).code == ExitCode::bad_usage);
}

TEST_CASE("a file is looked into alone: nothing is written or drawn beside it") {
  CHECK(failure_of({"--inspect=a.pt", "--inspect_format=json"}).code == ExitCode::done);
  CHECK(failure_of({"--inspect=a.pt", "--inspect_format=yaml"}).says("'text' or 'json'"));
  for (const char* other : {"output=a.jsonl", "prompts=a.txt", "score=a.txt", "export=folder", "trace=a.json"}) {
    CHECK(failure_of({"--inspect=a.pt", std::string("--") + other}).says("draws nothing"));
  }
}

TEST_CASE("help lists every key with its default and what it takes") {
  const std::string help = help_text();
  for (const Field& field : fields()) {
    CAPTURE(field.name);
    const std::string key = "--" + std::string(field.name) + "=" + to_source(value_of(field, Config{}));
    const size_t at = help.find("\n  " + key + " ");
    REQUIRE(at != std::string::npos);
    CHECK(help.find(allowed_values(field), at) != std::string::npos);
    CHECK(help.find("\n" + std::string(field.group) + ":\n") < at);
  }
}

TEST_CASE("a printed configuration fed back as a config file is the same configuration") {
  const TemporaryFolder folder;
  const Arguments arguments = {"--sampling_method=standard", "--temperature=0.3", "--masking_ratios=[0.9, 0.1]",
                               "--start_text=\"it's\\n\\u20ac\"", "--top_k=None"};
  const std::string printed = print_config(config_of(arguments));
  write_file(folder / "saved.py", printed);
  CHECK(print_config(config_of({folder / "saved.py"})) == printed);
}

TEST_CASE("the ready-made config files are valid and do what they are named for") {
  const std::string configs = std::string(DEMASK_SOURCE_DIR) + "/configs/";
  CHECK(config_of({configs + "high_quality.py"}).diffusion.diffusion_iterations == 100);
  CHECK(config_of({configs + "creative.py"}).top_p == 0.9);
  CHECK(config_of({configs + "custom_schedule.py"}).diffusion.masking_ratios->size() == 12);
  CHECK(config_of({configs + "shakespeare_standard.json"}).sampling_method == SamplingMethod::standard);
}

}  // namespace
}  // namespace demask

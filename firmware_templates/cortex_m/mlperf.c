/* The commands of MLPerf Tiny's device protocol. */
#include "board.h"
#include "clock.h"
#include "command.h"
#include "console.h"

/* The number of microseconds wraps after 71 minutes, as the protocol has it. */
void timestamp(void)
{
    put_message("lap-us", (uint32_t)clock_us());
}

/* scale * (q - zero_point) to four significant digits of the scale: finer than what int8 can tell apart. */
static void put_real(const model_tensor *t, int8_t q)
{
    float step = t->scale;
    int exponent = 0;

    for (; step < 1000.0f; exponent--)
        step *= 10.0f;
    for (; step >= 10000.0f; exponent++)
        step /= 10.0f;
    const float value = (float)(q - t->zero_point) * step;
    put_decimal((int32_t)(value < 0 ? value - 0.5f : value + 0.5f), exponent);
}

static void results(void)
{
    put_text("m-results-[");
    for (int i = 0; i < the->output_count; i++)
        for (uint32_t j = 0; j < the->outputs[i].bytes; j++) {
            if (i || j)
                put_text(",");
            put_real(&the->outputs[i], the->output(i)[j]);
        }
    put_line("]");
}

static void name(void)
{
    put_line("m-name-dut-[" BOARD_NAME "]");
}

static void profile(void)
{
    put_line("m-profile-[ULPMark for tinyML Firmware V0.0.1]");     /* the string hosts know this protocol by */
    put_text("m-model-[");
    put_text(the->name);
    put_line("]");
}

static void db_load(void)
{
    const int64_t n = number(word[2], 10);

    if (n <= 0 || n > the->loaded_bytes) {
        put_text("e-[db load takes 1 to ");
        put_unsigned(the->loaded_bytes);
        put_line(" bytes]");
        return;
    }
    input_expected = (uint32_t)n;
    input_received = 0;
    put_text("m-[Expecting ");
    put_unsigned(input_expected);
    put_line(" bytes]");
}

static void db_print(void)
{
    for (uint32_t i = 0; i < input_expected; i++) {
        put_text(i % 8 ? "-" : "m-buffer-");
        put_hex(the->loaded[i], 2);
        if (i % 8 == 7 || i + 1 == input_expected)
            put_line_end();
    }
}

static void db_hex(const char *digits)
{
    if (input_received == input_expected) {
        put_line("e-[Command 'db load N' must come first]");
        return;
    }
    for (const char *p = digits; *p; p++)
        if (hex_digit(*p) < 0) {
            put_line("e-[Invalid hex digit]");
            return;
        }
    for (; digits[0] && digits[1]; digits += 2) {
        the->loaded[input_received++] = (uint8_t)(hex_digit(digits[0]) << 4 | hex_digit(digits[1]));
        if (input_received == input_expected) {
            put_line("m-load-done");
            return;
        }
    }
    if (digits[0])
        put_line("e-[Insufficient number of hex digits]");
}

static void db(void)
{
    if (!*word[1])
        put_line("e-[Command 'db' requires a subcommand]");
    else if (same_text(word[1], "load"))
        db_load();
    else if (same_text(word[1], "print"))
        db_print();
    else
        db_hex(word[1]);
}

static void infer_once(void)
{
    load_inputs();
    the->run();
}

static void infer(void)
{
    const int64_t n = *word[1] ? number(word[1], 10) : 1, warm_up = *word[2] ? number(word[2], 10) : 10;

    if (n <= 0 || warm_up < 0) {
        put_line(n <= 0 ? "e-[Inference iterations must be >0]" : "e-[Inference warmup must be >=0]");
        return;
    }
    put_message("warmup-start", (uint64_t)warm_up);
    for (int64_t i = 0; i < warm_up; i++)
        infer_once();
    put_line("m-warmup-done");
    put_message("infer-start", (uint64_t)n);
    timestamp();
    for (int64_t i = 0; i < n; i++)
        infer_once();
    timestamp();
    put_line("m-infer-done");
    results();
}

const command mlperf_commands[] = {
    { "name", name },           { "profile", profile }, { "timestamp", timestamp }, { "db", db },
    { "infer", infer },         { "results", results }, { 0, 0 },
};

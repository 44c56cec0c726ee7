#include "mlperf.h"

#include "board.h"
#include "clock.h"
#include "console.h"

/* The number of microseconds wraps after 71 minutes, as the protocol has it. */
void mlperf_timestamp(session *s)
{
    (void)s;
    command_message("lap-us", (uint32_t)clock_us());
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
    console_decimal((int32_t)(value < 0 ? value - 0.5f : value + 0.5f), exponent);
}

static void results(session *s)
{
    console_text("m-results-[");
    for (int i = 0; i < s->model->output_count; i++)
        for (uint32_t j = 0; j < s->model->outputs[i].bytes; j++) {
            if (i || j)
                console_text(",");
            put_real(&s->model->outputs[i], s->model->output(i)[j]);
        }
    command_line("]");
}

static void name(session *s)
{
    (void)s;
    command_line("m-name-dut-[" BOARD_NAME "]");
}

static void profile(session *s)
{
    command_line("m-profile-[ULPMark for tinyML Firmware V0.0.1]");     /* the string hosts know this protocol by */
    console_text("m-model-[");
    console_text(s->model->name);
    command_line("]");
}

static void db_load(session *s)
{
    const int64_t n = command_number(s->word[2], 10);

    if (n <= 0 || n > s->model->loaded_bytes) {
        console_text("e-[db load takes 1 to ");
        console_unsigned(s->model->loaded_bytes);
        command_line(" bytes]");
        return;
    }
    s->expected = (uint32_t)n;
    s->received = 0;
    console_text("m-[Expecting ");
    console_unsigned(s->expected);
    command_line(" bytes]");
}

static void db_print(session *s)
{
    for (uint32_t i = 0; i < s->expected; i++) {
        console_text(i % 8 ? "-" : "m-buffer-");
        console_hex(s->model->loaded[i], 2);
        if (i % 8 == 7 || i + 1 == s->expected)
            console_line_end();
    }
}

static void db_hex(session *s, const char *digits)
{
    if (s->received == s->expected) {
        command_line("e-[Command 'db load N' must come first]");
        return;
    }
    for (const char *p = digits; *p; p++)
        if (command_hex_digit(*p) < 0) {
            command_line("e-[Invalid hex digit]");
            return;
        }
    for (; digits[0] && digits[1]; digits += 2) {
        s->model->loaded[s->received++] = (uint8_t)(command_hex_digit(digits[0]) << 4 | command_hex_digit(digits[1]));
        if (s->received == s->expected) {
            command_line("m-load-done");
            return;
        }
    }
    if (digits[0])
        command_line("e-[Insufficient number of hex digits]");
}

static void db(session *s)
{
    if (!*s->word[1])
        command_line("e-[Command 'db' requires a subcommand]");
    else if (command_is(s->word[1], "load"))
        db_load(s);
    else if (command_is(s->word[1], "print"))
        db_print(s);
    else
        db_hex(s, s->word[1]);
}

static void infer_once(const model *m)
{
    command_load_inputs(m);
    m->run();
}

static void infer(session *s)
{
    const int64_t n = *s->word[1] ? command_number(s->word[1], 10) : 1;
    const int64_t warm_up = *s->word[2] ? command_number(s->word[2], 10) : 10;

    if (n <= 0 || warm_up < 0) {
        command_line(n <= 0 ? "e-[Inference iterations must be >0]" : "e-[Inference warmup must be >=0]");
        return;
    }
    command_message("warmup-start", (uint64_t)warm_up);
    for (int64_t i = 0; i < warm_up; i++)
        infer_once(s->model);
    command_line("m-warmup-done");
    command_message("infer-start", (uint64_t)n);
    mlperf_timestamp(s);
    for (int64_t i = 0; i < n; i++)
        infer_once(s->model);
    mlperf_timestamp(s);
    command_line("m-infer-done");
    results(s);
}

const command mlperf_commands[] = {
    { "name", name },           { "profile", profile }, { "timestamp", mlperf_timestamp }, { "db", db },
    { "infer", infer },         { "results", results }, { 0, 0 },
};

#include "command.h"

#include "console.h"

void command_line(const char *text)
{
    console_text(text);
    console_line_end();
}

void command_message(const char *key, uint64_t value)
{
    console_text("m-");
    console_text(key);
    console_text("-");
    console_unsigned(value);
    console_line_end();
}

bool command_is(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

int command_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int64_t command_number(const char *text, uint32_t base)
{
    int64_t value = 0;

    if (!*text)
        return -1;
    for (; *text; text++) {
        const int digit = command_hex_digit(*text);
        if (digit < 0 || (uint32_t)digit >= base)
            return -1;
        value = value * base + digit;
        if (value > UINT32_MAX)
            return -1;
    }
    return value;
}

void command_load_inputs(const model *m)
{
    const uint8_t *from = m->loaded;

    for (int i = 0; i < m->input_count; i++) {
        uint8_t *to = m->input(i);
        for (uint32_t j = 0; j < m->inputs[i].bytes; j++)
            *to++ = *from++;
    }
}

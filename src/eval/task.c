#include "eval/task.h"

#include <string.h>

#define COMMONSENSE(folder)                                                                                    \
    {.name = (folder), .set = "commonsense", .place = "commonsense/" folder "/test.json",                      \
     .form = VLORPI_FORM_ALPACA, .kind = VLORPI_QUESTION_LABELS}

const vlorpi_task vlorpi_task_table[] = {
    COMMONSENSE("boolq"),
    COMMONSENSE("piqa"),
    COMMONSENSE("social_i_qa"),
    COMMONSENSE("hellaswag"),
    COMMONSENSE("winogrande"),
    COMMONSENSE("ARC-Easy"),
    COMMONSENSE("ARC-Challenge"),
    COMMONSENSE("openbookqa"),
    {.name = "mmlu", .place = "mmlu/test/*_test.csv", .shots_place = "mmlu/dev/*_dev.csv", .form = VLORPI_FORM_MMLU,
     .kind = VLORPI_QUESTION_LETTERS, .has_subjects = true},
    {.name = "gsm8k", .place = "gsm8k/test.jsonl", .shots_place = "gsm8k/train.jsonl", .form = VLORPI_FORM_QA,
     .kind = VLORPI_QUESTION_FREE},
};

const int vlorpi_task_table_rows = (int)(sizeof vlorpi_task_table / sizeof vlorpi_task_table[0]);

static const struct {
    const char *subject;
    vlorpi_mmlu_category category;
} subjects[VLORPI_MMLU_N_SUBJECTS] = {
    {"abstract_algebra", VLORPI_MMLU_STEM},
    {"anatomy", VLORPI_MMLU_OTHER},
    {"astronomy", VLORPI_MMLU_STEM},
    {"business_ethics", VLORPI_MMLU_OTHER},
    {"clinical_knowledge", VLORPI_MMLU_OTHER},
    {"college_biology", VLORPI_MMLU_STEM},
    {"college_chemistry", VLORPI_MMLU_STEM},
    {"college_computer_science", VLORPI_MMLU_STEM},
    {"college_mathematics", VLORPI_MMLU_STEM},
    {"college_medicine", VLORPI_MMLU_OTHER},
    {"college_physics", VLORPI_MMLU_STEM},
    {"computer_security", VLORPI_MMLU_STEM},
    {"conceptual_physics", VLORPI_MMLU_STEM},
    {"econometrics", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"electrical_engineering", VLORPI_MMLU_STEM},
    {"elementary_mathematics", VLORPI_MMLU_STEM},
    {"formal_logic", VLORPI_MMLU_HUMANITIES},
    {"global_facts", VLORPI_MMLU_OTHER},
    {"high_school_biology", VLORPI_MMLU_STEM},
    {"high_school_chemistry", VLORPI_MMLU_STEM},
    {"high_school_computer_science", VLORPI_MMLU_STEM},
    {"high_school_european_history", VLORPI_MMLU_HUMANITIES},
    {"high_school_geography", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"high_school_government_and_politics", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"high_school_macroeconomics", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"high_school_mathematics", VLORPI_MMLU_STEM},
    {"high_school_microeconomics", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"high_school_physics", VLORPI_MMLU_STEM},
    {"high_school_psychology", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"high_school_statistics", VLORPI_MMLU_STEM},
    {"high_school_us_history", VLORPI_MMLU_HUMANITIES},
    {"high_school_world_history", VLORPI_MMLU_HUMANITIES},
    {"human_aging", VLORPI_MMLU_OTHER},
    {"human_sexuality", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"international_law", VLORPI_MMLU_HUMANITIES},
    {"jurisprudence", VLORPI_MMLU_HUMANITIES},
    {"logical_fallacies", VLORPI_MMLU_HUMANITIES},
    {"machine_learning", VLORPI_MMLU_STEM},
    {"management", VLORPI_MMLU_OTHER},
    {"marketing", VLORPI_MMLU_OTHER},
    {"medical_genetics", VLORPI_MMLU_OTHER},
    {"miscellaneous", VLORPI_MMLU_OTHER},
    {"moral_disputes", VLORPI_MMLU_HUMANITIES},
    {"moral_scenarios", VLORPI_MMLU_HUMANITIES},
    {"nutrition", VLORPI_MMLU_OTHER},
    {"philosophy", VLORPI_MMLU_HUMANITIES},
    {"prehistory", VLORPI_MMLU_HUMANITIES},
    {"professional_accounting", VLORPI_MMLU_OTHER},
    {"professional_law", VLORPI_MMLU_HUMANITIES},
    {"professional_medicine", VLORPI_MMLU_OTHER},
    {"professional_psychology", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"public_relations", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"security_studies", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"sociology", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"us_foreign_policy", VLORPI_MMLU_SOCIAL_SCIENCES},
    {"virology", VLORPI_MMLU_OTHER},
    {"world_religions", VLORPI_MMLU_HUMANITIES},
};

const char *vlorpi_mmlu_category_name(vlorpi_mmlu_category category)
{
    static const char *const names[VLORPI_MMLU_N_CATEGORIES] = {"stem", "humanities", "social sciences", "other"};
    return names[category];
}

vlorp_status vlorpi_mmlu_category_of(vlorpi_mmlu_category *category, const char *subject, vlorp_err *err)
{
    for (int i = 0; i < VLORPI_MMLU_N_SUBJECTS; i++) {
        if (strcmp(subjects[i].subject, subject) == 0) {
            *category = subjects[i].category;
            return VLORP_OK;
        }
    }
    VLORP_FAIL(err, VLORP_E_FORMAT, "%s: it is none of MMLU's %d subjects", subject, VLORPI_MMLU_N_SUBJECTS);
}
